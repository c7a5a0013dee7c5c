"""The development distributions of a model: what its answers to held-out texts were like when it was published.

The manifest has them as `development`. The answers in production are compared with them: see `serving/drift.py`.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, TypeGuard

from ..errors import ArtifactError
from ..types import Prediction
from .artifact import Artifact
from .files import MANIFEST

# The edges between the bins that the exporter counts in. A manifest has its own, so that these may change.
CONFIDENCE_EDGES = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98)
TOKEN_EDGES = (8, 16, 32, 64, 128, 256)
_MOST_EDGES = 100
_LARGEST = 1e9
_DIGITS = 6  # of a share
_ROUNDING = 0.01  # by how much the sum of rounded shares may differ from 1


@dataclass(frozen=True, slots=True)
class Histogram:
    """Shares of bins, from 0 to 1. An edge is the lowest value of the bin above it, so there is one more bin."""

    edges: tuple[float, ...]
    shares: tuple[float, ...]

    @classmethod
    def count(cls, edges: Sequence[float], values: Sequence[float]) -> "Histogram":
        """Return the shares of `values`, of which there must be at least one."""
        counts = Counter(bisect_right(edges, value) for value in values)
        shares = (round(counts[number] / len(values), _DIGITS) for number in range(len(edges) + 1))
        return cls(tuple(edges), tuple(shares))

    def bin(self, value: float) -> int:
        """Return the number of the bin of a value, from 0."""
        return bisect_right(self.edges, value)

    def render(self) -> dict[str, list[float]]:
        """Return what the manifest has."""
        return {"edges": [*self.edges], "shares": [*self.shares]}


@dataclass(frozen=True, slots=True)
class Development:
    """The shares of labels, confidences and numbers of tokens among `texts` held-out texts.

    `labels` has every label of the model, in its order. Tokens are those that the model reads. `layers` has the share
    of texts that were answered after so many layers, for a model with exits.
    """

    texts: int
    labels: Mapping[str, float]
    confidence: Histogram
    tokens: Histogram
    layers: Mapping[int, float] = field(default_factory=dict)

    def confidence_bin(self, confidence: float) -> int:
        """Return the number of the bin of a confidence, from 0."""
        return self.confidence.bin(confidence)

    def token_bin(self, tokens: int) -> int:
        """Return the number of the bin of a number of tokens, from 0."""
        return self.tokens.bin(tokens)

    def render(self) -> dict[str, Any]:
        """Return what the manifest has."""
        return {
            "texts": self.texts,
            "labels": dict(self.labels),
            "confidence": self.confidence.render(),
            "tokens": self.tokens.render(),
        } | ({"layers": {str(layers): share for layers, share in self.layers.items()}} if self.layers else {})


def measure_development(labels: Sequence[str], predictions: Sequence[Prediction], tokens: Sequence[int]) -> Development:
    """Return the distributions of predictions, at least one, and of the numbers of tokens of their texts."""
    counts = Counter(prediction.label for prediction in predictions)
    depths = Counter(prediction.layers for prediction in predictions if prediction.layers)
    return Development(
        len(predictions),
        {label: round(counts[label] / len(predictions), _DIGITS) for label in labels},
        Histogram.count(CONFIDENCE_EDGES, [prediction.confidence for prediction in predictions]),
        Histogram.count(TOKEN_EDGES, tokens),
        {layers: round(depths[layers] / len(predictions), _DIGITS) for layers in sorted(depths)},
    )


def read_development(artifact: Artifact) -> Development | None:
    """Return what the manifest of an artifact has, None if it has nothing; raise `ArtifactError` if it is not valid."""
    stated = artifact.manifest.get("development")
    if stated is None:
        return None
    try:
        return _parse(stated, artifact.labels)
    except ValueError as error:
        raise ArtifactError(f"{artifact.directory / MANIFEST}: `development`: {error}") from None


def _parse(stated: object, labels: Sequence[str]) -> Development:
    if not isinstance(stated, dict):
        raise ValueError("must be an object with texts, labels, confidence and tokens")
    texts, shares = stated.get("texts"), stated.get("labels")
    if isinstance(texts, bool) or not isinstance(texts, int) or texts < 1:
        raise ValueError("texts must be a whole number of at least 1")
    if not isinstance(shares, dict) or shares.keys() != set(labels):
        raise ValueError(f"labels must have the share of each label of the model: {', '.join(labels)}")
    _check_shares("labels", shares.values())
    return Development(
        texts,
        {label: float(shares[label]) for label in labels},
        _parse_histogram("confidence", stated.get("confidence")),
        _parse_histogram("tokens", stated.get("tokens")),
        _parse_layers(stated.get("layers", {})),
    )


def _parse_layers(stated: object) -> dict[int, float]:
    if not isinstance(stated, dict) or not all(each.isascii() and each.isdigit() for each in stated):
        raise ValueError("layers must have a share for each number of layers")
    if stated:
        _check_shares("layers", stated.values())
    return {int(layers): float(share) for layers, share in stated.items()}


def _parse_histogram(name: str, stated: object) -> Histogram:
    edges, shares = (stated.get("edges"), stated.get("shares")) if isinstance(stated, dict) else (None, None)
    if not isinstance(edges, list) or not isinstance(shares, list):
        raise ValueError(f"{name} must have edges and shares")
    rises = all(map(_is_number, edges)) and all(low < high for low, high in pairwise(edges))
    if not rises or len(edges) > _MOST_EDGES:
        raise ValueError(f"the edges of {name} must be at most {_MOST_EDGES} numbers, each above the one before")
    if len(shares) != len(edges) + 1:
        raise ValueError(f"{name} must have one more share than edges")
    _check_shares(name, shares)
    return Histogram(tuple(map(float, edges)), tuple(map(float, shares)))


def _check_shares(name: str, shares: Collection[object]) -> None:
    numbers = [share for share in shares if _is_number(share)]
    complete = len(numbers) == len(shares) and min(numbers) >= 0 and abs(sum(numbers) - 1) <= _ROUNDING
    if not complete:
        raise ValueError(f"the shares of {name} must be numbers of at least 0 with the sum 1")


def _is_number(value: object) -> TypeGuard[float]:
    # Python's JSON parser accepts NaN and integers of thousands of digits.
    return isinstance(value, int | float) and not isinstance(value, bool) and -_LARGEST < value < _LARGEST
