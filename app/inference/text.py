"""Text normalisation, shared by training and serving.

The model must see texts in production in the form that it was trained on, and equivalent texts must have the same cache
key. Every text therefore passes through `normalise` exactly once.
"""

import functools
import html
import re
from collections.abc import Callable
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
    # Letters that NFKC makes combining marks of
    "\u3099": "\uff9e",
    "\u309a": "\uff9f",
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

# As many marks may follow a character as in Unicode's stream-safe format (UAX #15): languages need a few. Some
# implementations of NFKC need quadratic time for more.
_MAX_MARKS = 30
# More than thirty marks are at least fourteen characters: each is at most two, and the one before has at most three.
# This finds all of them, among other characters, but not in rows of letters, ASCII, punctuation or emoji.
_PERHAPS_MARK = "[^\\w\0-\u02ff\u2000-\u20cf\u2100-\u2cee\u3000-\u3029\u3030-\u3098\ufe00-\ufe0f\U0001f000-\U0010ffff]"
_PERHAPS_MARKS = re.compile(_PERHAPS_MARK + _PERHAPS_MARK + "{13,}")  # searched faster than with {14,}
_MOST_CHARS = 18  # that one character becomes in NFKC
_SLICE_CHARS = 500

_REFERENCE = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
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
    # An end comes first, because without one, each "=" would be tried.
    rf"<(?=[^<>]*>)(?:!--[^<>]*|!doctype\b[^<>]*|/?(?:{'|'.join(_ELEMENTS.split())}|[movwx]:\w+)"
    r"(?:\s*/?|\s[^<>]*[\w-]=[^<>]*))>",
    re.IGNORECASE | re.ASCII,
)


def normalise(text: str) -> str:
    """Return the canonical form of `text`, which is empty if the text has no visible character.

    Applies Unicode NFKC, writes apostrophes, quotation marks and hyphens in ASCII, removes invisible characters and the
    skin tones of emoji, decodes character references of HTML, replaces its tags by spaces, links by `http` and user
    mentions by `@user`, and collapses white space. Of more than thirty combining marks in a row, the rest is dropped.
    The result does not depend on the version of Python. Idempotent: `normalise(normalise(t)) == normalise(t)`. Takes
    time in proportion to the length of the text after NFKC: see `expands_beyond`.
    """
    text = _characters(text)
    if "&" in text and ";" in text:
        # A reference may name any character, also a combining one.
        text = _characters(_decode_references(text))
    if "<" in text:
        text = _replace_tags(text)
    if "://" in text or "www." in text.lower():
        text = _URL.sub(URL, text)
        if "<" in text:  # what was no tag may be one without the rest of a link
            text = _replace_tags(text)
    if "@" in text:
        text = _MENTION.sub(MENTION, text)
    if "`" in text:
        text = _BACKTICK.sub("'", text)
    return " ".join(text.split())


def expands_beyond(text: str, max_chars: int) -> bool:
    """Return whether `text` has more than about `max_chars` characters in NFKC, without the work of normalising it.

    One character may become eighteen.
    """
    if text.isascii() or len(text) * _MOST_CHARS <= max_chars:
        return False
    chars = 0
    for start in range(0, len(text), _SLICE_CHARS):
        chars += len(unicodedata.normalize("NFKC", text[start : start + _SLICE_CHARS]))
        if chars > max_chars:
            return True
    return False


def _characters(text: str) -> str:
    """Normalise each character and its combining marks."""
    if text.isascii() and text.isprintable():
        return text
    # Punctuation comes first, because NFKC decomposes some of it.
    normalised = _nfkc(_ascii_punctuation(text))
    text = _INVISIBLE.sub("", normalised)
    if not text.isprintable():
        text = "".join(map(_visible, text))
    text = _SKIN_TONE.sub("", text)
    if text != normalised:
        text = _nfkc(text)  # neighbours of a removed character may compose
    return _ascii_punctuation(text)


def _nfkc(text: str) -> str:
    normalised: str = unicodedata.normalize("NFKC", _PERHAPS_MARKS.sub(_limit_marks, text))
    return normalised


def _limit_marks(run: re.Match[str]) -> str:
    before = run.string[run.start() - 1] if run.start() else ""
    _, marks = _marks_of(before)
    kept = []
    for char in run[0]:
        is_marks, number = _marks_of(char)
        marks = marks + number if is_marks else number
        if marks <= _MAX_MARKS:
            kept.append(char)
    return "".join(kept)


@functools.lru_cache(2048)
def _marks_of(char: str) -> tuple[bool, int]:
    """Return whether `char`, decomposed, is marks alone, and with how many it ends."""
    decomposed = unicodedata.normalize("NFKD", char)
    base = "".join("m" if unicodedata.combining(each) else "b" for each in decomposed).rstrip("m")
    return not base, len(decomposed) - len(base)


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
    return _replace(text, _REFERENCE, "&;", _character)


def _character(reference: re.Match[str]) -> str:
    """Return the character that a reference stands for, or the reference if there is none of that name."""
    name = reference[0]
    char = html.unescape(name) if name[1] == "#" else html5.get(name[1:])
    return name if char is None else _characters(char)


def _replace_tags(text: str) -> str:
    """Replace each tag by a space, and what then is a tag, too."""
    return _replace(text, _TAG, "<>", lambda _: " ")


def _replace(text: str, pattern: re.Pattern[str], ends: str, replacement: Callable[[re.Match[str]], str]) -> str:
    """Replace what `pattern` matches, and what then is a match, too, until there is none left.

    A match begins and ends with the two characters of `ends`, and has none of them between. Takes linear time, however
    deep they are nested: each opening one is compared with the next closing one, and only once.
    """
    text, matches = pattern.subn(replacement, text)
    if not matches or not pattern.search(text):
        return text
    opening, closing = ends[0], ends[1]
    pieces: list[str] = []
    openings: list[int] = []  # their places in `pieces`
    rest = re.split(f"([{ends}])", text)[::-1]
    while rest:
        piece = rest.pop()
        if piece == opening:
            openings.append(len(pieces))
        pieces.append(piece)
        if piece == closing and openings:
            start = openings.pop()
            part = "".join(pieces[start:])
            match = pattern.fullmatch(part)
            replaced = replacement(match) if match else part
            if replaced == part:
                openings.clear()  # no match can contain this one
            else:
                del pieces[start:]
                rest += re.split(f"([{ends}])", replaced)[::-1]
    return "".join(pieces)
