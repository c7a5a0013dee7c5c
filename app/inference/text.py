"""Text normalisation, shared by training and serving.

The model must see texts in production in the form that it was trained on, and equivalent texts must have the same cache
key. Every text therefore passes through `normalise` exactly once.
"""

import re
import unicodedata

# The placeholders of TweetEval (Barbieri et al. 2020): short, and every English model has word pieces for them.
URL, MENTION = "http", "@user"

_URL = re.compile(r"(?:https?://|\bwww\.)\S+", re.IGNORECASE)
_MENTION = re.compile(r"(?<![\w@.])@\w+")
# Skin tones and presentation selectors, which do not change the sentiment of an emoji.
_VARIANTS = re.compile("[\ufe0e\ufe0f\U0001f3fb-\U0001f3ff]")
# Control characters, format characters (zero width, direction marks), lone surrogates, private use and unassigned. They
# carry no sentiment, and texts that look the same would differ.
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})


def normalise(text: str) -> str:
    """Return the canonical form of `text`, which is empty if the text has no visible character.

    Applies Unicode NFKC, removes invisible characters and the skin tones of emoji, collapses white space, and replaces
    links by `http` and user mentions by `@user`. Idempotent: `normalise(normalise(t)) == normalise(t)`.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFKC", _VARIANTS.sub("", text))
    if not text.isprintable():
        text = "".join(map(_visible, text))
        # Removing a character can make its neighbours adjacent, which may then compose.
        text = unicodedata.normalize("NFKC", text)
    if "://" in text or "www." in text.lower():
        text = _URL.sub(URL, text)
    if "@" in text:
        text = _MENTION.sub(MENTION, text)
    return " ".join(text.split())


def _visible(char: str) -> str:
    if char.isspace():
        return " "
    return "" if unicodedata.category(char) in _INVISIBLE else char
