"""Text without Penn Treebank tokens, and long texts as passages of whole sentences."""

import random
import re
from collections.abc import Iterator, Sequence
from itertools import count, repeat

from app.inference.tokenizer import Tokenizer

_SENTENCE_ENDS = re.compile(r"(?<=[.!?])[\"')\]]*\s+")
_SIZES = (24, 48, 94)  # largest number of tokens in a passage

# Penn Treebank tokens, which SST and other sets use: "it is n't good ." for "it isn't good."
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
    """Return `text` in ordinary spelling. Text that is not in Penn Treebank tokens does not change."""
    for pattern, replacement in _PENN:
        text = pattern.sub(replacement, text)
    return text.strip()


def split_passages(text: str, tokenizer: Tokenizer, rng: random.Random) -> list[str]:
    """Split `text` into passages of whole sentences with up to 94 tokens each. A short text is one passage.

    About half of the passages are single sentences, and the others have various sizes. A sentence with more tokens is
    split between words.
    """
    sentences = [sentence for sentence in _SENTENCE_ENDS.split(text) if sentence]
    tokens = _tokens(sentences, tokenizer)
    if sum(tokens) <= _SIZES[-1]:
        return [text]
    parts: list[str] = []
    for sentence, length in zip(sentences, tokens, strict=True):
        parts += _joined(sentence.split(), tokenizer, repeat(_SIZES[-1])) if length > _SIZES[-1] else [sentence]
    return _joined(parts, tokenizer, (rng.choice(_SIZES) if rng.random() < 0.5 else 0 for _ in count()))


def _joined(parts: Sequence[str], tokenizer: Tokenizer, limits: Iterator[int]) -> list[str]:
    """Join neighbouring parts. Each result has at least one part, and at most the tokens of the next of `limits`."""
    joined: list[str] = []
    current: list[str] = []
    size, limit = 0, next(limits)
    for part, length in zip(parts, _tokens(parts, tokenizer), strict=True):
        if current and size + length > limit:
            joined.append(" ".join(current))
            current, size, limit = [], 0, next(limits)
        current.append(part)
        size += length
    return [*joined, " ".join(current)]


def _tokens(parts: Sequence[str], tokenizer: Tokenizer) -> list[int]:
    return [len(encoding) - 2 for encoding in tokenizer.encode_many(parts)]
