"""Emoji for encoders that know none: a word piece each, which begins as the average of its name's word pieces."""

import unicodedata
from typing import Any

import torch
from tokenizers import Tokenizer

# Unicode blocks of pictographs, without the five skin tones (`app.inference.text` drops them). Which characters of
# them have a name follows the interpreter's Unicode, 14 for Python 3.11. Later the tokenizer's vocabulary holds the
# list.
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
    """Give the WordPiece tokenizer `document`, a parsed tokenizer.json, every emoji that it lacks; return these.

    Each stands by itself even where no space does: otherwise an unknown one makes the whole word unknown.
    """
    vocabulary = document["model"]["vocab"]
    new = [emoji for emoji in EMOJI if emoji not in vocabulary]
    if not new:
        return []
    vocabulary |= {emoji: index for index, emoji in enumerate(new, len(vocabulary))}
    any_emoji = "".join(f"{chr(first)}-{chr(last)}" for first, last in _BLOCKS)
    isolate = {"type": "Split", "pattern": {"Regex": f"[{any_emoji}]"}, "behavior": "Isolated", "invert": False}
    document["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [isolate, document["pre_tokenizer"]]}
    return new


def embeddings_of(emoji: list[str], tokenizer: Tokenizer, embeddings: torch.Tensor) -> torch.Tensor:
    """Return first embeddings for `emoji`, of shape (emoji, width), from those of the words of their names."""
    if not emoji:
        return embeddings[:0]
    names = [unicodedata.name(each).lower() for each in emoji]
    pieces = [encoding.ids for encoding in tokenizer.encode_batch(names, add_special_tokens=False)]
    return torch.stack([embeddings[ids].mean(dim=0) for ids in pieces])
