"""Text normalisation, shared by training and serving.

The model must see texts in production in the form that it was trained on, and equivalent texts must have the same cache
key. Every text therefore passes through `normalise` exactly once.
"""

import html
import re
from html.entities import html5

# Not the standard library's module: its Unicode version depends on the interpreter.
import unicodedata2 as unicodedata

# The placeholders of TweetEval (Barbieri et al. 2020): short, and every English model has word pieces for them.
URL, MENTION = "http", "@user"

_URL = re.compile(r"(?:https?://|\bwww\.)\S+", re.IGNORECASE)
# Letters and digits of the usual scripts: not `\w`, which depends on the version of Python.
_WORD = "0-9A-Za-z_\u00c0-\u1fff\u2c00-\u2fef\u3040-\ud7ff"
_MENTION = re.compile(f"(?<![{_WORD}@.])@[{_WORD}]+")

# Apostrophes, quotation marks and hyphens have many forms: of keyboards, of word processors and of other languages.
_FORMS = {
    "'": "\u2018\u2019\u201a\u201b\u2032\u2035\u2039\u203a\u275b\u275c\u00b4"
    "\u02b9\u02bb\u02bc\u02bd\u02c8\u02ca\u02cb\u055a\u05f3\ua78c",
    '"': "\u201c\u201d\u201e\u201f\u2033\u2036\u00ab\u00bb\u02ba\u02ee\u05f4\u275d\u275e\u301d\u301e\u301f",
    "-": "\u2010\u2011\u2212",
}
_PUNCTUATION = str.maketrans({form: ascii_ for ascii_, forms in _FORMS.items() for form in forms})
_ANY_FORM = re.compile(f"[{''.join(_FORMS.values())}]")
_BACKTICK = re.compile(f"(?<=[{_WORD}])`(?=[{_WORD}])")  # as an apostrophe; elsewhere it marks code or a quotation

# A skin tone does not change the sentiment of its emoji.
_SKIN_TONE = re.compile("(?<=\\S)[\U0001f3fb-\U0001f3ff]+")
# Invisible characters carry no sentiment, and texts that look the same would differ. Code points that have no character
# yet count as visible: they may be next year's emoji.
_INVISIBLE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co"})
_INVISIBLE = re.compile(  # default-ignorable code points of other categories, and noncharacters
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u3164\ufdd0-\ufdef\ufe00-\ufe0f\uffa0\ufff0-\ufff8\ufffe\uffff"
    + "".join(f"{chr(plane << 16 | 0xFFFE)}{chr(plane << 16 | 0xFFFF)}" for plane in range(1, 17))
    + "\U000e0000-\U000e0fff]"
)

_REFERENCE = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});\Z")
_LONGEST_REFERENCE = 34
# Only elements of HTML, without attributes or with a value for one: people also write "<3", "<sigh>" and
# "<a bit late>". Word processors add elements such as `o:p`.
_ELEMENTS = (
    "a abbr acronym address area article aside audio b base bdi bdo big blockquote body br button canvas caption "
    "center cite code col colgroup datalist dd del details dfn dialog dir div dl dt em embed fieldset figcaption "
    "figure font footer form frame frameset g h1 h2 h3 h4 h5 h6 head header hgroup hr html i iframe img input ins "
    "kbd label legend li link main map mark marquee menu meta meter nav noscript object ol optgroup option output "
    "p param path picture pre progress q rp rt ruby s samp script section select small source span strike strong "
    "style sub summary sup svg table tbody td template textarea tfoot th thead time title tr track tt u ul var "
    "video wbr"
)
_TAG = re.compile(
    rf"<(?:!--[^<>]*|!doctype\b[^<>]*|/?(?:{'|'.join(_ELEMENTS.split())}|[movwx]:\w+)"
    r"(?:\s*/?|\s[^<>]*[\w-]=[^<>]*))",
    re.IGNORECASE | re.ASCII,
)


def normalise(text: str) -> str:
    """Return the canonical form of `text`, which is empty if the text has no visible character.

    Applies Unicode NFKC, writes apostrophes, quotation marks and hyphens in ASCII, removes invisible characters and the
    skin tones of emoji, decodes character references of HTML, replaces its tags by spaces, links by `http` and user
    mentions by `@user`, and collapses white space. The result does not depend on the version of Python. Idempotent:
    `normalise(normalise(t)) == normalise(t)`.
    """
    text = _characters(text)
    if "&" in text and ";" in text:
        # A reference may name any character, also a combining one.
        text = _characters(_decode_references(text))
    if "<" in text:
        text = _replace_tags(text)
    if "://" in text or "www." in text.lower():
        text = _URL.sub(URL, text)
    if "@" in text:
        text = _MENTION.sub(MENTION, text)
    if "`" in text:
        text = _BACKTICK.sub("'", text)
    return " ".join(text.split())


def _characters(text: str) -> str:
    """Normalise each character and its combining marks."""
    if text.isascii() and text.isprintable():
        return text
    # Punctuation comes first, because NFKC decomposes some of it. And NFKC comes again at the end, because neighbours
    # of a removed character may compose.
    text = _INVISIBLE.sub("", unicodedata.normalize("NFKC", _ascii_punctuation(text)))
    if not text.isprintable():
        text = "".join(map(_visible, text))
    return _ascii_punctuation(unicodedata.normalize("NFKC", _SKIN_TONE.sub("", text)))


def _ascii_punctuation(text: str) -> str:
    return text.translate(_PUNCTUATION) if _ANY_FORM.search(text) else text


def _visible(char: str) -> str:
    if char.isprintable():
        return char
    if char.isspace():
        return " "
    return "" if unicodedata.category(char) in _INVISIBLE_CATEGORIES else char


def _decode_references(text: str) -> str:
    """Decode `&amp;`, `&#39;` and the like until none is left, for texts that were escaped more than once.

    Only complete references are decoded: "AT&T" and "this&that" are text.
    """
    decoded, *rest = text.split(";")
    for part in rest:
        decoded += ";"
        while decoded.endswith(";") and (reference := _REFERENCE.search(decoded[-_LONGEST_REFERENCE:])):
            char = _character(reference[0])
            if char is None:
                break
            decoded = decoded[: -len(reference[0])] + char
        decoded += part
    return decoded


def _character(reference: str) -> str | None:
    """Return the character that a reference stands for, or None if there is none of that name."""
    char = html.unescape(reference) if reference[1] == "#" else html5.get(reference[1:])
    return None if char is None else _characters(char)


def _replace_tags(text: str) -> str:
    """Replace each tag by a space, and what then is a tag, too."""
    before, current = "", ""
    *parts, rest = text.split(">")
    for part in parts:
        current += part
        start = current.rfind("<")
        if start >= 0 and _TAG.fullmatch(current, start):
            current = current[:start] + " "
        else:
            before, current = before + current + ">", ""
    return before + current + rest
