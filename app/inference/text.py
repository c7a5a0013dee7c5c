"""Text normalisation: one function, used to train the model and to serve it.

What the model sees in production must look like what it learned from, and equal texts must get equal cache keys, so
every text passes through `normalise` exactly once on its way in.
"""

import re
import unicodedata

# The placeholders of TweetEval (Barbieri et al. 2020): short, and made of word pieces that every English model knows.
URL, MENTION = "http", "@user"

_URL = re.compile(r"(?:https?://|\bwww\.)\S+", re.IGNORECASE)
_MENTION = re.compile(r"(?<![\w@.])@\w+")
# Skin tones and how an emoji is drawn: the same emoji says the same, whoever sends it.
_VARIANTS = re.compile("[\ufe0e\ufe0f\U0001f3fb-\U0001f3ff]")
# Control, format (zero width, direction marks), lone surrogates, private use and unassigned: they carry no sentiment,
# and make equal texts differ.
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})


def normalise(text: str) -> str:
    """Return the canonical form of `text`; empty when it has no visible character.

    Unicode is brought to NFKC, invisible characters and the skin tones of emoji are dropped, runs of white space become
    one space, links become `http` and user mentions `@user`. Idempotent: `normalise(normalise(t)) == normalise(t)`.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFKC", _VARIANTS.sub("", text))
    if not text.isprintable():
        text = "".join(map(_visible, text))
        # Removing a character can bring two others together that compose.
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
