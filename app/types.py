"""The values that travel between the modules. Nothing here knows how they are made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Encoding:
    """A tokenised text: its token ids, special tokens included, and whether tokens had to be cut off."""

    ids: Sequence[int]
    truncated: bool

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Batch:
    """What a backend runs: token ids and attention mask, both int64 of shape (rows, longest row).

    The mask is 0 for padding and 1 for tokens, with one text per row. In a row of several texts it is k for the tokens
    of the k-th text (`app.inference.packing`).
    """

    input_ids: IntArray
    attention_mask: IntArray
    alone: bool = False  # probably no other batch will run meanwhile: the backend may use the threads of all slots

    def __len__(self) -> int:
        """Rows, which are texts unless several share one."""
        return len(self.input_ids)

    @property
    def padded_tokens(self) -> int:
        """Tokens that the model computes, padding included."""
        return int(self.input_ids.size)


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer to one text. `scores` has every label in the model's order and sums to 1."""

    label: str
    confidence: float
    scores: Mapping[str, float]
    truncated: bool = False


CacheOutcome = Literal["hit", "miss", "joined"]
Location = tuple[str | int, ...]  # where in a request something is, for errors
# What counts of a text with more tokens than the model reads: its beginning, or all of it, in windows.
LongText = Literal["truncate", "window"]


class Answer(NamedTuple):
    """The predictions of a request, in the order of its texts, and where its time went, in milliseconds."""

    predictions: list[Prediction]
    cache: CacheOutcome
    tokenize_ms: float = 0.0
    queue_ms: float = 0.0
    infer_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What is known about a loaded model; `/info` shows it."""

    model: str
    model_version: str
    labels: tuple[str, ...]
    max_tokens: int
    temperature: float
    backend: str
    device: str
    precision: str
    checksum: str | None
    # Tokens per second of each backend that was tried, where `load_model` compared them.
    compared_tokens_per_s: Mapping[str, int] | None = None
