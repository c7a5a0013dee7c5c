"""Text as people write it, and long texts as passages of whole sentences."""

import random
import re
from collections.abc import Iterator, Sequence
from itertools import count, repeat

from app.inference.tokenizer import Tokenizer

_SENTENCE_ENDS = re.compile(r"(?<=[.!?])[\"')\]]*\s+")
_SIZES = (24, 48, 94)  # tokens that a passage may have

# Penn Treebank's tokens, as SST and other sets have them: "it is n't good ." for "it isn't good."
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


def split_passages(text: str, tokenizer: Tokenizer, rng: random.Random) -> list[str]:
    """Cut `text` into passages of whole sentences, of up to 94 tokens; a short one is its only passage.

    Half of them are single sentences, the others of various sizes. A sentence with more tokens is cut between words.
    """
    sentences = [sentence for sentence in _SENTENCE_ENDS.split(text) if sentence]
    tokens = _tokens(sentences, tokenizer)
    if sum(tokens) <= _SIZES[-1]:
        return [text]
    parts: list[str] = []
    for sentence, length in zip(sentences, tokens, strict=True):
        parts += _joined(sentence.split(), tokenizer, repeat(_SIZES[-1])) if length > _SIZES[-1] else [sentence]
    return _joined(parts, tokenizer, (rng.choice(_SIZES) if rng.random() < 0.5 else 0 for _ in count()))


def _joined(parts: Sequence[str], tokenizer: Tokenizer, rooms: Iterator[int]) -> list[str]:
    """Join neighbouring parts, in each case as many as the next of `rooms` has tokens for, but at least one."""
    found: list[str] = []
    current: list[str] = []
    size, room = 0, next(rooms)
    for part, length in zip(parts, _tokens(parts, tokenizer), strict=True):
        if current and size + length > room:
            found.append(" ".join(current))
            current, size, room = [], 0, next(rooms)
        current.append(part)
        size += length
    return [*found, " ".join(current)]


def _tokens(parts: Sequence[str], tokenizer: Tokenizer) -> list[int]:
    return [len(encoding) - 2 for encoding in tokenizer.encode_many(parts)]
