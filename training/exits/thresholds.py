"""Choose the confidence from which a text leaves at each exit. Pure."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

_CANDIDATES = 30  # thresholds to try for each label
_MOST_LABELS = 6  # that have thresholds of their own
_NEVER = 1.01
_ROUNDING = 1e-9

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Thresholds = tuple[float, ...]  # in the order of the labels


@dataclass(frozen=True, slots=True)
class Limits:
    """How much the answers with exits may differ from those of the whole model, on each set.

    `lost_points_of` has another limit for some sets, by their names.
    """

    other_labels: float = 0.8  # percentage of the texts
    lost_points: float = 0.1  # percentage points of accuracy
    lost_points_of: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answers:
    """A set of texts and its name, with the probabilities of the heads by layers, and those of the whole model.

    Probabilities have the shape (texts, labels). `tokens` are the lengths, and `truth` the numbers of the labels, if
    they are known. Accuracy is over the labels that occur in `truth`.
    """

    name: str
    heads: Mapping[int, Floats]
    whole: Floats
    tokens: Integers
    truth: Integers | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What exits change on a set, in percent: `shares` is how many texts leave after so many layers.

    `cost` is the share of the work that is left, counted in layers of tokens.
    """

    texts: int
    other_labels: float
    cost: float
    shares: Mapping[int, float]
    accuracy: float | None = None
    whole_accuracy: float | None = None

    def is_within(self, limits: Limits, name: str) -> bool:
        """Return whether this keeps to the limits of the set with this name."""
        lost = (self.whole_accuracy or 0.0) - (self.accuracy or 0.0)
        most = limits.lost_points_of.get(name, limits.lost_points)
        return self.other_labels <= limits.other_labels and lost <= most + _ROUNDING


def outcome(answers: Answers, thresholds: Mapping[int, Thresholds], layers: int) -> Outcome:
    """Return what these thresholds, by the layers of their exits, give on a set; the model has so many `layers`."""
    scores = answers.whole.copy()
    depths = np.full(len(scores), layers)
    for after, threshold in sorted(thresholds.items()):
        early = answers.heads[after]
        leaving = (depths == layers) & (early.max(axis=1) >= np.array(threshold)[early.argmax(axis=1)])
        scores[leaving], depths[leaving] = early[leaving], after
    return compare(answers, scores, depths, layers)


def compare(answers: Answers, scores: Floats, depths: Integers, layers: int) -> Outcome:
    """Compare scores that were reached after `depths` layers with those of the whole model."""
    shares = {int(depth): _percent(depths == depth) for depth in np.unique(depths)}
    cost = 100 * float((depths * answers.tokens).sum() / (layers * answers.tokens.sum()))
    other = _percent(scores.argmax(axis=1) != answers.whole.argmax(axis=1))
    if (truth := answers.truth) is None:
        return Outcome(len(scores), other, cost, shares)
    known = np.unique(truth)
    right = [_percent(known[each[:, known].argmax(axis=1)] == truth) for each in (scores, answers.whole)]
    return Outcome(len(scores), other, cost, shares, *right)


def choose(sets: Sequence[Answers], after: Sequence[int], layers: int, limits: Limits) -> dict[int, Thresholds]:
    """Return thresholds with little work that keep to the limits on each set, by the layers of their exits.

    All sets count alike. Thresholds are lowered one after the other, each time the one that saves the most, until none
    can be. An exit at which no text would leave is left out.
    """
    labels = sets[0].whole.shape[1]
    grid = np.round(np.linspace(1 / labels, 1, _CANDIDATES + 2)[1:-1], 3).tolist()
    thresholds = dict.fromkeys(after, (_NEVER,) * labels)
    # One threshold for each label, or for all of them together if they are many.
    groups = [[label] for label in range(labels)] if labels <= _MOST_LABELS else [[*range(labels)]]
    least = 100.0
    while True:
        better: tuple[float, dict[int, Thresholds]] | None = None
        for layer, group in itertools.product(after, groups):
            for value in grid:
                if value >= thresholds[layer][group[0]]:
                    continue
                row = tuple(value if label in group else old for label, old in enumerate(thresholds[layer]))
                tried = thresholds | {layer: row}
                cost = _cost(sets, tried, layers, limits)
                if cost is not None and cost < (better[0] if better else least):
                    better = cost, tried
        if better is None:
            break
        least, thresholds = better
    return {layer: row for layer, row in thresholds.items() if min(row) < _NEVER}


def _cost(sets: Sequence[Answers], thresholds: Mapping[int, Thresholds], layers: int, limits: Limits) -> float | None:
    """Return the mean cost of the sets, or None if one of them is beyond its limits."""
    costs: list[float] = []
    for answers in sets:
        result = outcome(answers, thresholds, layers)
        if not result.is_within(limits, answers.name):
            return None
        costs.append(result.cost)
    return float(np.mean(costs))


def describe_exits(outcomes: Mapping[str, Outcome]) -> list[str]:
    """Return what exits change, in words."""
    said = []
    for name, each in outcomes.items():
        shares = ", ".join(f"{share:.0f} % after {layers}" for layers, share in each.shares.items())
        accuracy = ""
        if each.accuracy is not None:
            accuracy = f"; accuracy {each.accuracy:.2f} %, without exits {each.whole_accuracy:.2f} %"
        said.append(
            f"{name}: {shares} layers; {each.cost:.0f} % of the work; "
            f"another label for {each.other_labels:.2f} % of {each.texts:,} texts{accuracy}"
        )
    return said


def _percent(where: NDArray[np.bool_]) -> float:
    return round(100 * float(where.mean()), 2)
