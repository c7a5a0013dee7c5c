"""Compares what two versions say about the same texts."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..types import Prediction
from .accuracy import Accuracies, paired_accuracies
from .latency import Latency
from .proportions import Share

LARGEST = 20  # differences that are listed
_DECILES = tuple(decile / 10 for decile in range(1, 10))
_QUANTILES = (0.5, 0.9, 0.95, 0.99, 1.0)


@dataclass(frozen=True, slots=True)
class Confidence:
    """How sure a version is: the mean of its confidences, and their nine deciles."""

    mean: float
    deciles: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Quantiles:
    """The mean and some quantiles of the differences of scores."""

    mean: float
    p50: float
    p90: float
    p95: float
    p99: float
    max: float


@dataclass(frozen=True, slots=True)
class Change:
    """A text on which the versions differ, by its index. `difference` is that of the class that differs most."""

    index: int
    difference: float
    a: str
    b: str
    truth: str | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """What two versions say about the same texts. Labels are the most likely ones, also of those that abstain.

    The difference of a text is that of the class whose scores differ most; a class that a version does not have counts
    as 0. `accuracies` are about the texts whose right label is known; None if there is none.
    """

    texts: int
    agreement: Share
    mix_a: Mapping[str, int]
    mix_b: Mapping[str, int]
    confidence_a: Confidence
    confidence_b: Confidence
    score_difference: Quantiles
    accuracies: Accuracies | None
    largest: tuple[Change, ...]
    latency_a: Latency | None = None
    latency_b: Latency | None = None


def compare(
    a: Sequence[Prediction],
    b: Sequence[Prediction],
    truth: Sequence[str | None] | None = None,
    *,
    latencies_a_ms: Sequence[float] = (),
    latencies_b_ms: Sequence[float] = (),
) -> Comparison:
    """Compare predictions for the same texts, in their order; there must be at least one.

    `truth` has the right label of each text, or None where it is not known. Raises `ValueError` for sequences of
    different lengths.
    """
    if not a:
        raise ValueError("there is nothing to compare")
    truth = truth if truth is not None else [None] * len(a)
    differences = np.array([_difference(*pair) for pair in zip(a, b, strict=True)])
    return Comparison(
        len(a),
        Share(sum(one.label == other.label for one, other in zip(a, b, strict=True)), len(a)),
        _mix(a),
        _mix(b),
        _confidence(a),
        _confidence(b),
        Quantiles(float(differences.mean()), *map(float, np.quantile(differences, _QUANTILES))),
        _accuracies(a, b, truth),
        _largest(a, b, truth, differences),
        Latency.of(latencies_a_ms),
        Latency.of(latencies_b_ms),
    )


def _difference(a: Prediction, b: Prediction) -> float:
    return max(abs(a.scores.get(label, 0.0) - b.scores.get(label, 0.0)) for label in {*a.scores, *b.scores})


def _mix(predictions: Sequence[Prediction]) -> Mapping[str, int]:
    return dict(sorted(Counter(each.label for each in predictions).items()))


def _confidence(predictions: Sequence[Prediction]) -> Confidence:
    values = np.array([each.confidence for each in predictions])
    return Confidence(float(values.mean()), tuple(map(float, np.quantile(values, _DECILES))))


def _accuracies(a: Sequence[Prediction], b: Sequence[Prediction], truth: Sequence[str | None]) -> Accuracies | None:
    right = Counter(
        (one.label == label, other.label == label)
        for one, other, label in zip(a, b, truth, strict=True)
        if label is not None
    )
    return paired_accuracies(right[True, True], right[True, False], right[False, True], right[False, False])


def _largest(
    a: Sequence[Prediction], b: Sequence[Prediction], truth: Sequence[str | None], differences: NDArray[np.float64]
) -> tuple[Change, ...]:
    # Stable, so that equal differences stay in the order of their texts.
    order = np.argsort(-differences, kind="stable")[:LARGEST]
    return tuple(
        Change(index, float(differences[index]), a[index].label, b[index].label, truth[index])
        for index in map(int, order)
        if differences[index] > 0
    )
