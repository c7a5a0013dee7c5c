"""Values that modules pass to each other."""

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from .errors import SentimentError

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float32]

# A text. Of a large body, those that are not ASCII stay in UTF-8 until they are worked on: a string with a single
# emoji takes four times the memory.
Text = str | bytes

# How many layers of a model with exits a text goes through: until a head is sure, or all.
Depth = Literal["auto", "full"]


def pack(text: str) -> Text:
    """Return a text in the form that takes less memory."""
    return text if text.isascii() else text.encode()


def unpack(text: Text) -> str:
    """Return a text as a string."""
    return text if isinstance(text, str) else text.decode()


@dataclass(frozen=True, slots=True)
class Encoding:
    """A tokenised text: its token ids, with special tokens, and whether the text was cut.

    Of a model with exits, it goes through all parts if its `depth` is "full", and through at most `most_parts`; 0 means
    as many as it needs.
    """

    ids: Sequence[int]
    truncated: bool
    depth: Depth = "auto"
    most_parts: int = 0

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A text between two parts of a model with exits: the first `parts` have run, and no head was sure.

    `states` are those after the last of them: float32 of shape (tokens, width). The text was `alone` if it shared no
    run with another one.
    """

    encoding: Encoding
    parts: int
    states: FloatArray = field(repr=False, compare=False)
    alone: bool = False

    def __len__(self) -> int:
        return len(self.encoding)

    @property
    def truncated(self) -> bool:
        """Whether the text was cut."""
        return self.encoding.truncated


Payload = Encoding | Unfinished  # what a part of a model runs on


@dataclass(frozen=True, slots=True)
class Batch:
    """Input of a backend: token ids and attention mask, both int64 of shape (texts, longest text).

    Each text has a row, with padding at its end. The mask is 1 for tokens and 0 for padding.
    """

    input_ids: IntArray
    attention_mask: IntArray
    # No other batch is expected to run at the same time: the backend may use the threads of all slots.
    alone: bool = False

    def __len__(self) -> int:
        """Number of texts."""
        return len(self.input_ids)


@dataclass(frozen=True, slots=True)
class Prediction:
    """Result for one text. `scores` has every label, in the order of the model, and sums to 1.

    `label` is the most likely class, and `confidence` its score. Users see no label if that is below `abstain_below`.
    `log_sum` is the logarithm of what the exponentials of the logits were divided by; unknown after an average.
    `layers` is how many layers of the model the text went through; 0 if the model has no exits. The prediction is
    `shallow` if they were fewer than the text needed, because of the load.
    """

    label: str
    confidence: float
    scores: Mapping[str, float]
    truncated: bool = False
    log_sum: float = field(default=0.0, compare=False)
    abstain_below: float = 0.0
    layers: int = 0
    shallow: bool = False

    @classmethod
    def from_shown(
        cls, label: str | None, confidence: float, scores: Mapping[str, float], truncated: bool
    ) -> "Prediction":
        """Return the prediction that users see like this; without a label, its model was not sure enough."""
        if label is not None:
            return cls(label, confidence, scores, truncated)
        return cls(max(scores, key=lambda name: scores[name]), confidence, scores, truncated, abstain_below=math.inf)

    @property
    def shown_label(self) -> str | None:
        """The label for users: None if the model is not sure enough."""
        # Rounded, so that nobody sees a confidence of 0.7 without a label if the limit is 0.7.
        is_sure = not self.abstain_below or round(self.confidence, 4) >= self.abstain_below
        return self.label if is_sure else None

    def logits(self) -> dict[str, float]:
        """Return the logits of which `scores` is the softmax: the model's, divided by its temperature."""
        return {label: math.log(score or sys.float_info.min) + self.log_sum for label, score in self.scores.items()}

    def render(self, top_k: int | None = None) -> dict[str, Any]:
        """Return what JSON shows: rounded, with only the `top_k` best classes in `scores` (None: all)."""
        scores = {label: round(score, 4) for label, score in self.scores.items()}
        confidence = scores[self.label]
        if top_k is not None:
            best = sorted(scores, key=lambda label: -self.scores[label])[:top_k]
            scores = {label: score for label, score in scores.items() if label in best}
        rendered = {"label": self.shown_label, "confidence": confidence, "scores": scores, "truncated": self.truncated}
        return rendered | {"shallow": True} if self.shallow else rendered


class WordWeight(NamedTuple):
    """A word, as a half-open range of the characters of its text, and how much it speaks for the label.

    The weight is in log-odds; it is negative if the word speaks against the label.
    """

    start: int
    end: int
    weight: float

    def render(self) -> dict[str, Any]:
        """Return what JSON shows."""
        return {"start": self.start, "end": self.end, "weight": round(self.weight, 4)}


CacheOutcome = Literal["hit", "miss", "joined"]
Location = tuple[str | int, ...]  # where in a request something is, for errors
# How to read a text with too many tokens for the model: only its beginning, or all of it in windows.
LongText = Literal["truncate", "window"]


class Answer(NamedTuple):
    """Results of a request, in the order of its texts, and the time spent in each stage.

    A result is an error only if the request is partial.
    """

    results: Sequence[Prediction | SentimentError]
    cache: CacheOutcome
    tokenize_ms: float = 0.0
    queue_ms: float = 0.0
    infer_ms: float = 0.0
    explanations: Sequence[Sequence[WordWeight] | None] = ()  # one per text, None for an error; only if asked for
    layers: int = 0  # of a model with exits
    queued_s: float = 0.0  # `time.monotonic()` between the stages tokenize and queue; 0 if nothing had to be computed

    @property
    def predictions(self) -> list[Prediction]:
        """The results without errors."""
        return [result for result in self.results if isinstance(result, Prediction)]


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """Properties of a loaded model; `/info` shows them."""

    model: str
    model_version: str
    labels: tuple[str, ...]
    max_tokens: int
    temperature: float
    backend: str
    device: str
    precision: str
    checksum: str | None  # of the weights
    manifest: str | None = None  # checksum of the manifest
    abstain_below: float = 0.0  # confidence below which a prediction has no label
    layers: int = 0  # of a model with exits
    exits: tuple[int, ...] = ()  # the numbers of layers after which a text may leave
    # Tokens per second of each backend that was tried, where `load_model` compared them.
    compared_tokens_per_s: Mapping[str, int] | None = None

    @property
    def id(self) -> str:
        """`name@version`, which the header `X-Model` has. What may not be in a header is percent-encoded."""
        return quote(f"{self.model}@{self.model_version}", safe="!#$&'()*+,/:;=?@[]")
