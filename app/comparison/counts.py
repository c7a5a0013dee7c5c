"""Compares two versions by what a server has counted, without their predictions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from .accuracy import Accuracies, unpaired_accuracies
from .latency import Latency
from .proportions import Share

Confusion = Mapping[str, Mapping[str, int]]  # predicted label → right label → texts


@dataclass(frozen=True, slots=True)
class Shadow:
    """How a version that only listens compares with the one that answers. Differences are those of scores."""

    agreement: Share
    mean_difference: float | None = None
    p95_difference: float | None = None


@dataclass(frozen=True, slots=True)
class VersionCounts:
    """What a server knows about a version. None is what it does not say."""

    requests: int | None = None
    mix: Mapping[str, int] | None = None
    confidence: float | None = None  # the mean, as far as buckets show it
    latency: Latency | None = None
    feedback: Confusion | None = None
    shadow: Shadow | None = None


@dataclass(frozen=True, slots=True)
class CountComparison:
    """Two versions by their counts. `accuracies` need feedback for both of them; otherwise they are None."""

    a: VersionCounts
    b: VersionCounts
    accuracy_a: Share | None
    accuracy_b: Share | None
    accuracies: Accuracies | None


def compare_counts(a: VersionCounts, b: VersionCounts) -> CountComparison:
    """Compare two versions, which answered different texts."""
    accuracy_a, accuracy_b = accuracy_of(a.feedback or {}), accuracy_of(b.feedback or {})
    accuracies = unpaired_accuracies(accuracy_a, accuracy_b) if accuracy_a and accuracy_b else None
    return CountComparison(a, b, accuracy_a, accuracy_b, accuracies)


def accuracy_of(confusion: Confusion) -> Share | None:
    """Return the share of texts on which a version is right; None without texts."""
    right = sum(truths.get(predicted, 0) for predicted, truths in confusion.items())
    texts = sum(sum(truths.values()) for truths in confusion.values())
    return Share(right, texts) if texts else None


def mean_of_buckets(edges: Sequence[float], counts: Sequence[int]) -> float | None:
    """Return about the mean of confidences, as if each were in the middle of its bucket.

    Buckets lie between edges. There may be one more below the first edge, which begins at 0, and one more above the
    last one, which ends at 1. None without texts, or if the numbers of edges and counts do not match.
    """
    bounds = {
        len(edges) - 1: [*edges],
        len(edges): [0.0, *edges],
        len(edges) + 1: [0.0, *edges, 1.0],
    }.get(len(counts))
    if bounds is None or not sum(counts):
        return None
    middles = [(low + high) / 2 for low, high in pairwise(bounds)]
    return sum(middle * count for middle, count in zip(middles, counts, strict=True)) / sum(counts)
