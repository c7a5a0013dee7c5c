"""Text as people write it, and long texts as passages of whole sentences."""

import random
import re

from app.tokenizer import Tokenizer

_SENTENCE_ENDS = re.compile(r"(?<=[.!?])[\"')\]]*\s+")
_SIZES = (24, 48, 94)  # tokens that a passage may have

# Penn Treebank's tokens, as SST and other sets have them: "it 's n't good ." for "it isn't good."
_PENN = (
    (re.compile(r"``|''"), '"'),
    (re.compile(r" `(?= |\w)"), " '"),
    (re.compile(r"-LRB-", re.IGNORECASE), "("),
    (re.compile(r"-RRB-", re.IGNORECASE), ")"),
    (re.compile(r" (n't|'s|'re|'ve|'ll|'d|'m)\b", re.IGNORECASE), r"\1"),
    (re.compile(r" ([.,!?;:%)\]])(?= |$)"), r"\1"),
    (re.compile(r"([(\[$]) "), r"\1"),
    (re.compile(r'(?:(?<= )|^)" ([^"]*?) "(?=[ .,!?;:)]|$)'), r'"\1"'),
)


def detokenise(text: str) -> str:
    """Return `text` in ordinary spelling; a text that has it already stays as it is."""
    for pattern, replacement in _PENN:
        text = pattern.sub(replacement, text)
    return text.strip()


def passages(text: str, tokenizer: Tokenizer, rng: random.Random) -> list[str]:
    """Cut `text` into passages of whole sentences, of various sizes up to 94 tokens; a short one is its only passage.

    A sentence that is longer than its passage may be makes a passage by itself.
    """
    sentences = [sentence for sentence in _SENTENCE_ENDS.split(text) if sentence]
    tokens = [len(encoding) - 2 for encoding in tokenizer.encode_many(sentences)]
    if sum(tokens) <= _SIZES[-1]:
        return [text]
    found: list[str] = []
    current: list[str] = []
    size, room = 0, rng.choice(_SIZES)
    for sentence, count in zip(sentences, tokens, strict=True):
        if current and size + count > room:
            found.append(" ".join(current))
            current, size, room = [], 0, rng.choice(_SIZES)
        current.append(sentence)
        size += count
    return [*found, " ".join(current)]
