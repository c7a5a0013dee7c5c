"""Two versions on the same texts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.comparison import Confidence, Latency, Share, compare
from app.comparison.pairs import LARGEST
from app.types import Prediction

LABELS = ("negative", "neutral", "positive")


def prediction(*scores: float, labels: tuple[str, ...] = LABELS) -> Prediction:
    best = max(range(len(scores)), key=scores.__getitem__)
    return Prediction(labels[best], scores[best], dict(zip(labels, scores, strict=True)))


NEGATIVE, NEUTRAL, POSITIVE = prediction(0.8, 0.1, 0.1), prediction(0.2, 0.6, 0.2), prediction(0.0, 0.1, 0.9)
SURE = prediction(0.0, 0.0, 1.0)


def test_figures_are_those_that_one_counts_by_hand() -> None:
    comparison = compare([NEGATIVE, NEUTRAL, POSITIVE, POSITIVE], [NEGATIVE, POSITIVE, SURE, NEGATIVE])
    assert comparison.texts == 4
    assert comparison.agreement == Share(2, 4)
    assert comparison.mix_a == {"negative": 1, "neutral": 1, "positive": 2}
    assert comparison.mix_b == {"negative": 2, "positive": 2}
    assert comparison.confidence_a.mean == pytest.approx((0.8 + 0.6 + 0.9 + 0.9) / 4)
    assert comparison.confidence_b.mean == pytest.approx((0.8 + 0.9 + 1.0 + 0.8) / 4)
    differences = comparison.score_difference
    assert differences.mean == pytest.approx((0 + 0.7 + 0.1 + 0.8) / 4)
    assert (differences.p50, differences.max) == pytest.approx((0.4, 0.8))
    assert comparison.accuracies is None
    assert [(each.index, round(each.difference, 6), each.a, each.b) for each in comparison.largest] == [
        (3, 0.8, "positive", "negative"),
        (1, 0.7, "neutral", "positive"),
        (2, 0.1, "positive", "positive"),
    ]


def test_deciles_are_those_of_the_confidences() -> None:
    predictions = [prediction(0.5 + number / 200, 0.5 - number / 200, labels=("a", "b")) for number in range(101)]
    assert compare(predictions, predictions).confidence_a == Confidence(
        pytest.approx(0.75), tuple(pytest.approx(0.5 + decile / 20) for decile in range(1, 10))
    )


def test_accuracies_are_about_texts_with_a_known_label() -> None:
    a = [NEGATIVE, POSITIVE, POSITIVE, POSITIVE, NEUTRAL, POSITIVE]
    b = [NEGATIVE, NEGATIVE, NEGATIVE, POSITIVE, NEGATIVE, NEGATIVE]
    truth = ["negative", "negative", "negative", "negative", "neutral", None]
    accuracies = compare(a, b, truth).accuracies
    assert accuracies is not None
    assert (accuracies.a, accuracies.b) == (Share(2, 5), Share(3, 5))
    assert (accuracies.only_a, accuracies.only_b) == (1, 2)
    assert accuracies.paired
    assert accuracies.difference.value == pytest.approx(0.2)
    assert accuracies.p == 1.0
    assert accuracies.test == "McNemar's exact test"


def test_a_label_that_one_version_lacks_has_the_score_0() -> None:
    two = prediction(0.3, 0.7, labels=("negative", "positive"))
    assert compare([prediction(0.3, 0.5, 0.2)], [two]).score_difference.max == pytest.approx(0.5)


def test_only_the_largest_differences_are_listed_in_their_order() -> None:
    a = [prediction(0.5 + number / 100, 0.5 - number / 100, labels=("a", "b")) for number in range(1, 41)]
    b = [prediction(0.5, 0.5, labels=("a", "b"))] * 40
    largest = compare(a, b, ["b"] * 40).largest
    assert [each.index for each in largest] == list(range(39, 39 - LARGEST, -1))
    assert {each.truth for each in largest} == {"b"}
    assert compare(b, b).largest == ()


def test_latencies_are_percentiles_of_what_was_measured() -> None:
    comparison = compare([SURE], [SURE], latencies_a_ms=range(101))
    assert comparison.latency_a == Latency(50, 95, 99)
    assert comparison.latency_b is None


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to compare"):
        compare([], [])
    with pytest.raises(ValueError, match="zip"):
        compare([SURE], [SURE, SURE])
    with pytest.raises(ValueError, match="zip"):
        compare([SURE], [SURE], ["positive", "positive"])


ONE = st.sampled_from([NEGATIVE, NEUTRAL, POSITIVE, SURE])
ROWS = st.lists(st.tuples(ONE, ONE, st.sampled_from([*LABELS, None])), min_size=1, max_size=30)


@given(ROWS)
def test_swapping_the_versions_swaps_the_figures(rows: list[tuple[Prediction, Prediction, str | None]]) -> None:
    a, b, truth = zip(*rows, strict=True)
    one, other = compare(a, b, truth), compare(b, a, truth)
    assert (one.agreement, one.mix_a, one.confidence_a) == (other.agreement, other.mix_b, other.confidence_b)
    assert one.score_difference == other.score_difference
    if one.accuracies and other.accuracies:
        assert (one.accuracies.a, one.accuracies.only_a) == (other.accuracies.b, other.accuracies.only_b)
        assert (one.accuracies.p, one.accuracies.texts_needed) == (other.accuracies.p, other.accuracies.texts_needed)
        assert one.accuracies.difference.value == -other.accuracies.difference.value
