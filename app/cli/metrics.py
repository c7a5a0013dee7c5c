"""Metrics of predictions against true labels, in numpy. Labels are indices."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_BINS = 15  # of equal width, as in Guo et al. 2017, "On Calibration of Modern Neural Networks"
_Z = 1.959964  # of 95 % of a normal distribution


@dataclass(frozen=True, slots=True)
class ClassFigures:
    """Figures of one class. A ratio is 0 where its denominator is 0."""

    rows: int
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, slots=True)
class Report:
    """How predictions agree with the labels."""

    rows: int
    accuracy: float
    interval: tuple[float, float]  # 95 % confidence interval of the accuracy (Wilson 1927)
    macro_f1: float  # mean over the classes that occur among the labels
    calibration_error: float  # mean distance of confidence and accuracy, weighted by the rows of each bin
    classes: dict[str, ClassFigures]
    confusion: list[list[int]]  # true class by predicted class, in the order of `classes`


def measure(
    truth: Sequence[int], predicted: Sequence[int], confidence: Sequence[float], labels: Sequence[str]
) -> Report:
    """Return the figures; there must be at least one row."""
    true, best, sure = np.asarray(truth), np.asarray(predicted), np.asarray(confidence)
    confusion = np.zeros((len(labels), len(labels)), dtype=int)
    np.add.at(confusion, (true, best), 1)
    classes = {label: _figures(confusion, index) for index, label in enumerate(labels)}
    correct = true == best
    accuracy = float(correct.mean())
    return Report(
        rows=len(true),
        accuracy=accuracy,
        interval=_interval(accuracy, len(true)),
        macro_f1=float(np.mean([figures.f1 for figures in classes.values() if figures.rows])),
        calibration_error=_calibration_error(sure, correct),
        classes=classes,
        confusion=confusion.tolist(),
    )


def _figures(confusion: NDArray[np.int_], index: int) -> ClassFigures:
    hits = int(confusion[index, index])
    rows, predicted = int(confusion[index].sum()), int(confusion[:, index].sum())
    f1 = 2 * hits / max(1, rows + predicted)
    return ClassFigures(rows, hits / max(1, predicted), hits / max(1, rows), f1)


def _interval(accuracy: float, rows: int) -> tuple[float, float]:
    spread = _Z**2 / rows
    middle = (accuracy + spread / 2) / (1 + spread)
    half = _Z / (1 + spread) * (accuracy * (1 - accuracy) / rows + spread / (4 * rows)) ** 0.5
    return max(0.0, middle - half), min(1.0, middle + half)


def _calibration_error(confidence: NDArray[np.floating], correct: NDArray[np.bool_]) -> float:
    # A bin includes its upper edge, as in the paper, so a confidence of 1 is in the last bin.
    numbers = np.clip(np.ceil(confidence * _BINS).astype(int) - 1, 0, _BINS - 1)
    gaps = [
        abs(float(confidence[inside].sum() - correct[inside].sum()))
        for inside in (numbers == number for number in range(_BINS))
    ]
    return sum(gaps) / len(correct)
