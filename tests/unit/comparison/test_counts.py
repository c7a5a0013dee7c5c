"""Two versions by the counts of a server."""

import pytest

from app.comparison import Share, VersionCounts, compare_counts, mean_of_buckets
from app.comparison.counts import accuracy_of

GOOD = {"negative": {"negative": 40, "neutral": 2}, "positive": {"positive": 50, "negative": 8}}


def test_the_accuracy_of_counts_is_their_diagonal() -> None:
    assert accuracy_of(GOOD) == Share(90, 100)
    assert accuracy_of({"negative": {"positive": 3}}) == Share(0, 3)
    assert accuracy_of({}) is accuracy_of({"negative": {}}) is None


def test_versions_with_feedback_have_their_accuracies_compared() -> None:
    worse = {"negative": {"negative": 48}, "positive": {"negative": 32}}
    comparison = compare_counts(VersionCounts(feedback=worse), VersionCounts(feedback=GOOD))
    accuracies = comparison.accuracies
    assert accuracies is not None
    assert (
        (accuracies.a, accuracies.b)
        == (comparison.accuracy_a, comparison.accuracy_b)
        == (Share(48, 80), Share(90, 100))
    )
    assert accuracies.difference.value == pytest.approx(0.3)
    assert accuracies.difference.low < 0.3 < accuracies.difference.high
    assert not accuracies.paired
    assert accuracies.only_a is accuracies.only_b is None
    assert accuracies.p < 0.001


@pytest.mark.parametrize("feedback", [None, {}, {"negative": {}}])
def test_without_feedback_for_both_nothing_is_said_about_accuracy(feedback: dict[str, dict[str, int]] | None) -> None:
    comparison = compare_counts(VersionCounts(feedback=GOOD), VersionCounts(feedback=feedback))
    assert comparison.accuracies is None
    assert (comparison.accuracy_a, comparison.accuracy_b) == (Share(90, 100), None)


@pytest.mark.parametrize(
    ("edges", "counts", "mean"),
    [
        ([0.0, 0.5, 1.0], [1, 3], (0.25 + 3 * 0.75) / 4),
        ([0.5, 1.0], [1, 3], (0.25 + 3 * 0.75) / 4),
        ([0.5, 0.8], [1, 0, 1], (0.25 + 0.9) / 2),
        ([0.5, 1.0], [0, 0], None),
        ([0.5, 1.0], [1], 0.75),
        ([0.5], [1, 2, 3], None),
        ([], [], None),
    ],
)
def test_a_mean_is_estimated_from_buckets(edges: list[float], counts: list[int], mean: float | None) -> None:
    assert mean_of_buckets(edges, counts) == (mean if mean is None else pytest.approx(mean))
