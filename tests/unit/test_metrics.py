from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry

from app.metrics import Metrics
from app.model_metrics import VersionMetrics
from app.types import ModelInfo, Prediction

INFO = ModelInfo(
    model="m",
    model_version="1",
    labels=("negative", "positive"),
    max_tokens=512,
    temperature=1.0,
    backend="mock",
    device="cpu",
    precision="fp32",
    checksum=None,
)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(CollectorRegistry())


@pytest.fixture
def version(metrics: Metrics) -> VersionMetrics:
    return metrics.model_loaded(INFO, slots=2)


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def of_version(metrics: Metrics, name: str, **labels: str) -> float | None:
    return value(metrics, name, model="m", model_version="1", **labels)


def test_a_prediction_counts_once_by_label_and_once_by_confidence(metrics: Metrics, version: VersionMetrics) -> None:
    version.predicted(Prediction("positive", 0.93, {}, truncated=False))
    version.predicted(Prediction("positive", 0.5, {}, truncated=True, abstain_below=0.6))
    assert of_version(metrics, "sentiment_predictions_total", label="positive") == 2
    assert of_version(metrics, "sentiment_confidence_count") == 2
    assert of_version(metrics, "sentiment_confidence_sum") == pytest.approx(1.43)
    assert of_version(metrics, "sentiment_truncated_total") == 1
    assert of_version(metrics, "sentiment_abstained_total") == 1
    metrics.windowed(3)
    assert value(metrics, "sentiment_windowed_total") == 3
    assert of_version(metrics, "sentiment_truncated_total") == 1


@pytest.mark.parametrize(
    ("confidence", "bound"), [(0.34, "0.4"), (0.4, "0.4"), (0.41, "0.5"), (0.95, "0.95"), (0.995, "1.0"), (1.0, "1.0")]
)
def test_bounds_of_confidence_buckets_are_inclusive(
    metrics: Metrics, version: VersionMetrics, confidence: float, bound: str
) -> None:
    version.predicted(Prediction("positive", confidence, {}))
    bounds = ["0.4", "0.5", "0.6", "0.7", "0.8", "0.9", "0.95", "0.99", "1.0", "+Inf"]
    counts = [of_version(metrics, "sentiment_confidence_bucket", le=each) for each in bounds]
    assert counts == [float(index >= bounds.index(bound)) for index in range(len(bounds))]


def test_series_exist_before_their_first_event(metrics: Metrics) -> None:
    """Otherwise the first event would not show in a rate: a counter that appears at 1 has not increased."""
    metrics.model_loaded(INFO, slots=2)
    assert [of_version(metrics, "sentiment_predictions_total", label=label) for label in INFO.labels] == [0, 0]
    assert [value(metrics, "sentiment_refused_total", reason=reason) for reason in ("wait", "full", "deadline")] == [
        0
    ] * 3
    assert [value(metrics, "sentiment_cache_total", outcome=outcome) for outcome in ("hit", "miss", "joined")] == [
        0
    ] * 3
    assert value(metrics, "sentiment_slots") == 2


def test_gauges_have_the_latest_state(metrics: Metrics) -> None:
    metrics.state(ready=True, depth=3, wait_s=0.25)
    names = ("sentiment_ready", "sentiment_queue_texts", "sentiment_predicted_wait_seconds")
    assert [value(metrics, name) for name in names] == [1, 3, 0.25]
    metrics.state(ready=False, depth=0, wait_s=0)
    assert [value(metrics, name) for name in names] == [0, 0, 0]


def test_the_loaded_model_is_described_by_labels(metrics: Metrics) -> None:
    metrics.model_loaded(INFO, slots=1)
    labels = {"model": "m", "model_version": "1", "backend": "mock", "device": "cpu", "precision": "fp32"}
    assert value(metrics, "sentiment_model_info", checksum="None", **labels) == 1


def test_the_series_of_a_version_end_with_it(metrics: Metrics, version: VersionMetrics) -> None:
    other = metrics.model_loaded(replace(INFO, model_version="2"), slots=2)
    for each in (version, other):
        each.predicted(Prediction("positive", 0.9, {}))
        each.answered(0.01, failed=True)
        each.golden_checked(0.75)
        each.drifted({"labels": 0.1, "confidence": 0.2, "tokens": 0.3})
        each.shadowed("differ", 0.4)
        each.state_changed(failed=True)
    assert of_version(metrics, "sentiment_version_requests_total") == 1
    assert of_version(metrics, "sentiment_version_failures_total") == 1
    assert of_version(metrics, "sentiment_version_seconds_count") == 1
    assert of_version(metrics, "sentiment_golden_agreement") == 0.75
    assert of_version(metrics, "sentiment_drift", of="tokens") == 0.3
    assert of_version(metrics, "sentiment_shadow_texts_total", outcome="differ") == 1
    assert of_version(metrics, "sentiment_shadow_difference_sum") == 0.4
    assert of_version(metrics, "sentiment_version_failed") == 1
    version.forget()
    assert 'model_version="1"' not in metrics.exposition()[0].decode()
    assert 'sentiment_predictions_total{label="positive",model="m",model_version="2"} 1.0' in (
        metrics.exposition()[0].decode()
    )


def test_what_a_shadow_scores_counts_as_latency_only(metrics: Metrics, version: VersionMetrics) -> None:
    version.scored(0.02)
    assert of_version(metrics, "sentiment_version_seconds_count") == 1
    assert of_version(metrics, "sentiment_version_requests_total") == 0


def test_versions_are_counted_by_model_and_state(metrics: Metrics, version: VersionMetrics) -> None:
    metrics.count_versions({("m", "ready"): 1, ("m", "failed"): 2})
    assert value(metrics, "sentiment_versions", model="m", state="failed") == 2
    version.forget()  # the counts are not of one version
    metrics.count_versions({("n", "ready"): 1})
    assert value(metrics, "sentiment_versions", model="m", state="failed") is None
    assert value(metrics, "sentiment_versions", model="n", state="ready") == 1


def test_where_series_stay_a_model_that_is_gone_has_no_versions(metrics: Metrics) -> None:
    metrics._models.removes = False  # as with several workers
    metrics.count_versions({("m", "failed"): 1})
    metrics.count_versions({("n", "failed"): 1})
    assert value(metrics, "sentiment_versions", model="m", state="failed") == 0
    assert value(metrics, "sentiment_versions", model="n", state="failed") == 1


def test_where_series_stay_a_version_that_is_gone_raises_no_alert(metrics: Metrics, version: VersionMetrics) -> None:
    metrics._models.removes = False  # as with several workers
    version.golden_checked(0.5)
    version.drifted({"labels": 0.3})
    version.state_changed(failed=True)
    version.forget()
    assert of_version(metrics, "sentiment_golden_agreement") == 1
    assert of_version(metrics, "sentiment_drift", of="labels") == 0
    assert of_version(metrics, "sentiment_version_failed") == 0


def test_where_series_stay_a_version_without_golden_texts_gets_none(metrics: Metrics, version: VersionMetrics) -> None:
    metrics._models.removes = False  # as with several workers
    version.forget()
    assert of_version(metrics, "sentiment_golden_agreement") is None


def test_where_series_stay_versions_beyond_the_64th_share_them(metrics: Metrics) -> None:
    metrics._models.removes = False  # as with several workers
    for number in range(70):
        version = metrics.model_loaded(replace(INFO, model_version=str(number)), slots=1)
        version.answered(0.01, failed=False)
        version.forget()
    names = {number for number in range(70) if f'model_version="{number}"' in metrics.exposition()[0].decode()}
    assert names == set(range(64))
    assert 'model="other",model_version="other"' in metrics.exposition()[0].decode()
