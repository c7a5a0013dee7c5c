"""Emoji for encoders without them: one word piece each, whose embedding starts as the mean of its name's pieces."""

from typing import Any

import torch
import unicodedata2 as unicodedata
from tokenizers import Tokenizer

# Unicode blocks of pictographs, without the five skin tones, which `app.inference.text` removes.
_BLOCKS = (
    (0x2600, 0x27BF),
    (0x2B50, 0x2B55),
    (0x1F300, 0x1F3FA),
    (0x1F400, 0x1F64F),
    (0x1F680, 0x1F6FF),
    (0x1F900, 0x1F9FF),
    (0x1FA70, 0x1FAFF),
)
EMOJI = tuple(
    chr(code) for first, last in _BLOCKS for code in range(first, last + 1) if unicodedata.name(chr(code), "")
)


def add_emoji(document: dict[str, Any]) -> list[str]:
    """Add the missing emoji to `document`, the parsed tokenizer.json of a WordPiece tokenizer, and return them.

    An emoji is a word of its own even without spaces around it. Otherwise an unknown emoji would make the whole word
    unknown.
    """
    vocabulary = document["model"]["vocab"]
    new = [emoji for emoji in EMOJI if emoji not in vocabulary]
    if not new:
        return []
    vocabulary |= {emoji: index for index, emoji in enumerate(new, len(vocabulary))}
    any_emoji = "".join(f"{chr(first)}-{chr(last)}" for first, last in _BLOCKS)
    isolate = {"type": "Split", "pattern": {"Regex": f"[{any_emoji}]"}, "behavior": "Isolated", "invert": False}
    steps = document["pre_tokenizer"].get("pretokenizers", [document["pre_tokenizer"]])
    if isolate not in steps:
        document["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [isolate, *steps]}
    return new


def embeddings_of(emoji: list[str], tokenizer: Tokenizer, embeddings: torch.Tensor) -> torch.Tensor:
    """Return initial embeddings of shape (emoji, width): the mean of the word pieces of each name."""
    if not emoji:
        return embeddings[:0]
    names = [unicodedata.name(each).lower() for each in emoji]
    pieces = [encoding.ids for encoding in tokenizer.encode_batch(names, add_special_tokens=False)]
    return torch.stack([embeddings[ids].mean(dim=0) for ids in pieces])
