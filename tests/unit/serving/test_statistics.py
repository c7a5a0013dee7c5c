"""What is counted of one version."""

from unittest.mock import Mock, call

import pytest

from app.serving.statistics import Agreement, Statistics
from app.types import Prediction


def prediction(label: str, confidence: float) -> Prediction:
    other = {"bad": "good", "good": "bad"}[label]
    return Prediction(label, confidence, {label: confidence, other: 1 - confidence})


def statistics(drift: Mock | None = None) -> Statistics:
    return Statistics(("bad", "good"), Mock(), drift)


def test_before_the_first_request_there_is_nothing() -> None:
    counts = statistics()
    assert counts.latency_ms() is None
    assert (counts.requests, counts.errors) == (0, 0)
    assert (counts.recent().requests, counts.recent().errors, counts.recent().p99_ms) == (0, 0, 0.0)
    assert counts.agreement.differences() is None


def test_requests_errors_and_quantiles_are_counted_and_passed_on() -> None:
    counts = statistics()
    for number in range(101):
        counts.answered(number / 1000, failed=number >= 91)
    assert (counts.requests, counts.errors) == (101, 10)
    assert (counts.requests, counts.errors) == (101, 10)
    assert counts.latency_ms() == {"p50": 50.0, "p95": 95.0, "p99": 99.0}
    assert counts.metrics.answered.call_args == call(0.1, failed=True)  # type: ignore[attr-defined]


def test_only_the_newest_2048_requests_are_recent() -> None:
    counts = statistics()
    for _ in range(100):
        counts.answered(9.0, failed=True)
    for _ in range(2040):
        counts.answered(0.001)
    assert (counts.recent().requests, counts.recent().errors) == (2048, 8)
    for _ in range(8):
        counts.answered(0.001)
    assert (counts.recent().errors, counts.recent().p99_ms) == (0, 1.0)
    assert counts.errors == 100


def test_what_is_recent_can_begin_again_and_the_totals_stay() -> None:
    counts = statistics()
    counts.answered(1.0, failed=True)
    counts.forget_recent()
    assert counts.recent().requests == 0
    assert counts.latency_ms() is None
    assert (counts.requests, counts.errors) == (1, 1)


def test_predictions_are_counted_by_label_and_confidence() -> None:
    counts = statistics()
    for each in (prediction("good", 0.55), prediction("good", 0.97), prediction("bad", 1.0)):
        counts.predicted(each)
    assert counts.predictions == {"bad": 1, "good": 2}
    assert sum(counts.confidence) == 3
    assert counts.confidence[-1] == 1


def test_only_computed_predictions_count_as_drift() -> None:
    drift = Mock()
    counts = statistics(drift)
    counts.predicted(prediction("good", 0.9))
    assert not drift.observe.called
    counts.computed(prediction("good", 0.9), 12)
    drift.observe.assert_called_once_with("good", 0.9, 12)
    statistics().computed(prediction("good", 0.9), 12)  # a model without a development set


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("tokenized", (0.1,)), ("looked_up", ("hit", 2)), ("varied", (3,)), ("windowed", (4,)), ("backend_failed", ())],
)
def test_the_rest_goes_to_the_metrics(name: str, arguments: tuple[object, ...]) -> None:
    counts = statistics()
    getattr(counts, name)(*arguments)
    getattr(counts.metrics, name).assert_called_once_with(*arguments)


def test_agreement_counts_labels_and_the_difference_of_the_answered_score() -> None:
    agreement = Agreement()
    assert agreement.add(prediction("good", 0.9), prediction("good", 0.7)) == (True, pytest.approx(0.2))
    assert agreement.add(prediction("good", 0.9), prediction("bad", 0.6)) == (False, pytest.approx(0.5))
    assert (agreement.texts, agreement.agreeing) == (2, 1)
    mean, highest = agreement.differences() or (0, 0)
    assert mean == pytest.approx(0.35)
    assert highest == pytest.approx(0.2 + 0.95 * 0.3)


def test_a_label_that_the_shadow_does_not_have_differs_by_the_whole_score() -> None:
    other = Prediction("great", 0.8, {"great": 0.8, "poor": 0.2})
    assert Agreement().add(prediction("good", 0.9), other) == (False, 0.9)
