"""Metrics of predicted probabilities against true labels, in pure numpy.

Labels are indices; probabilities have shape (rows, labels).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Probabilities = NDArray[np.floating]
Indices = NDArray[np.integer]

BINS = 15  # of equal width, as in Guo et al. 2017, "On Calibration of Modern Neural Networks"
_Z = 1.959964  # of 95 % of a normal distribution
_LEAST = 1e-12  # replaces 0: a row may give a probability of 0 to every class of its set


@dataclass(frozen=True, slots=True)
class ClassFigures:
    """Figures of one class. A ratio is 0 where its denominator is 0."""

    rows: int
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, slots=True)
class Bin:
    """The rows whose confidence lies in one of the bins, with their mean confidence and their accuracy."""

    rows: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Report:
    """The figures of one set over the classes that occur in it. Fields `…_of_all` are over all classes, as served."""

    rows: int
    accuracy: float
    interval: tuple[float, float]  # 95 % confidence interval of the accuracy
    accuracy_of_all: float
    ece_of_all: float
    macro_f1: float
    macro_recall: float
    ece: float  # expected calibration error: mean distance of confidence and accuracy, weighted by the rows of each bin
    brier: float  # squared error of the probabilities, summed over the classes, from 0 to 2
    nll: float  # negative log-likelihood, natural logarithm
    classes: dict[str, ClassFigures]
    confusion: list[list[int]]  # true class by predicted class, in the order of `classes`
    bins: list[Bin]  # by rising confidence


@dataclass(frozen=True, slots=True)
class Scored:
    """The rows of a set, with probabilities over all classes of the model and over the classes of the set."""

    truth: Indices
    over_all: Probabilities
    over_own: Probabilities  # 0 for classes that the set lacks


def score(probabilities: Probabilities, truth: Sequence[int] | Indices) -> Scored:
    """Add the probabilities over the classes that occur in the set. SST-2, for example, has no neutral texts."""
    truth, over_all = np.asarray(truth), np.maximum(np.asarray(probabilities, dtype=np.float64), _LEAST)
    over_own = np.zeros_like(over_all)
    own = classes_of(truth, over_all.shape[1])
    over_own[:, own] = over_all[:, own]
    return Scored(truth, over_all, over_own / over_own.sum(axis=1, keepdims=True))


def classes_of(truth: Indices, labels: int) -> Indices:
    """Return the classes that occur in a set, or all if only one occurs: with one class, no answer could be wrong."""
    present = np.unique(truth)
    return present if len(present) > 1 else np.arange(labels)


def pool(sets: Sequence[Scored]) -> Scored:
    """Join several sets. Each row is still measured over the classes of its own set."""
    return Scored(
        np.concatenate([rows.truth for rows in sets]),
        np.concatenate([rows.over_all for rows in sets]),
        np.concatenate([rows.over_own for rows in sets]),
    )


def measure(rows: Scored, labels: Sequence[str]) -> Report:
    truth, own = rows.truth, rows.over_own
    best = own.argmax(axis=1)
    correct = best == truth
    shown = np.flatnonzero(own.any(axis=0))
    confusion = np.zeros((len(labels), len(labels)), dtype=int)
    np.add.at(confusion, (truth, best), 1)
    confusion = confusion[np.ix_(shown, shown)]
    classes = _classes(confusion)
    bins = _bins(own.max(axis=1), correct)
    correct_of_all = rows.over_all.argmax(axis=1) == truth
    hits = np.eye(len(labels))[truth]
    # A class without rows may be in the confusion matrix, because the model could predict it, but not in the means.
    present = [figures for figures in classes if figures.rows]
    return Report(
        rows=len(truth),
        accuracy=float(correct.mean()),
        interval=interval(float(correct.mean()), len(truth)),
        accuracy_of_all=float(correct_of_all.mean()),
        ece_of_all=_ece(_bins(rows.over_all.max(axis=1), correct_of_all)),
        macro_f1=float(np.mean([figures.f1 for figures in present])),
        macro_recall=float(np.mean([figures.recall for figures in present])),
        ece=_ece(bins),
        brier=float(((own - hits) ** 2).sum(axis=1).mean()),
        nll=float(-np.log(own[np.arange(len(truth)), truth]).mean()),
        classes={labels[index]: figures for index, figures in zip(shown, classes, strict=True)},
        confusion=confusion.tolist(),
        bins=bins,
    )


def interval(accuracy: float, rows: int) -> tuple[float, float]:
    """Return the 95 % score interval of a share (Wilson 1927), which also holds near 0 and 1 and for few rows."""
    spread = _Z**2 / rows
    middle = (accuracy + spread / 2) / (1 + spread)
    half = _Z / (1 + spread) * (accuracy * (1 - accuracy) / rows + spread / (4 * rows)) ** 0.5
    return max(0.0, middle - half), min(1.0, middle + half)


def _ece(bins: Sequence[Bin]) -> float:
    return sum(bin_.rows * abs(bin_.confidence - bin_.accuracy) for bin_ in bins) / sum(bin_.rows for bin_ in bins)


def _classes(confusion: NDArray[np.integer]) -> list[ClassFigures]:
    figures = []
    for index in range(len(confusion)):
        hits = int(confusion[index, index])
        rows, predicted = int(confusion[index].sum()), int(confusion[:, index].sum())
        f1 = 2 * hits / max(1, rows + predicted)
        figures.append(ClassFigures(rows, hits / max(1, predicted), hits / max(1, rows), f1))
    return figures


def _bins(confidence: Probabilities, correct: NDArray[np.bool_]) -> list[Bin]:
    # A bin includes its upper edge, as in the paper, so a confidence of 1 is in the last bin.
    numbers = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    bins = []
    for number in range(BINS):
        inside = numbers == number
        rows = int(inside.sum())
        bins.append(Bin(rows, *(float(values[inside].mean()) if rows else 0.0 for values in (confidence, correct))))
    return bins
