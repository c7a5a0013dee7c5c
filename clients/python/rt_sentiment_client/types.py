"""What the methods of a client return."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Prediction:
    """The sentiment of a text.

    `label` is the most likely class, None if the server answers without one when it is not sure enough. `confidence` is
    the probability of that class, and `scores` has that of every class. `truncated` is true if the end of
    the text was ignored because the model does not read texts of this length. `model` is `name@version`, None if the
    server does not say.
    """

    label: str | None
    confidence: float
    scores: Mapping[str, float]
    truncated: bool = False
    model: str | None = None


@dataclass(frozen=True, slots=True)
class WordWeight:
    """How much a word, `text[start:end]`, speaks for the label; against it if `weight` is negative."""

    start: int
    end: int
    weight: float


@dataclass(frozen=True, slots=True)
class ExplainedPrediction(Prediction):
    """A prediction with the weight of each word of its text, in their order."""

    explanation: tuple[WordWeight, ...] = ()


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a server."""

    max_text_chars: int
    max_batch_texts: int
    max_body_bytes: int
    request_timeout_ms: float


@dataclass(frozen=True, slots=True)
class Info:
    """The model of a server, and its limits."""

    model: str
    model_version: str
    labels: tuple[str, ...]
    max_tokens: int
    limits: Limits
