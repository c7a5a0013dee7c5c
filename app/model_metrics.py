"""Prometheus metrics of models and their versions. Series of what is gone end, so that their number is bounded."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from prometheus_client import Counter, Gauge, Histogram

from .types import CacheOutcome, ModelInfo, Prediction

# Of the best label: from a guess among three labels to certainty.
_CONFIDENCES = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_DIFFERENCES = (0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
_INFO = ("model", "model_version", "backend", "device", "precision", "checksum")
_VERSION = ["model", "model_version"]
# With several workers, series cannot be removed. Versions beyond so many share the last ones.
_MOST_VERSIONS = 64
_OTHER = ("other", "other")


class Rest(Protocol):
    """The metrics that are not of a version."""

    def tokenized(self, seconds: float) -> None: ...
    def looked_up(self, outcome: CacheOutcome, texts: int) -> None: ...
    def varied(self, variants: int) -> None: ...
    def windowed(self, texts: int) -> None: ...


class ModelMetrics:
    """The metrics that have the name and the version of a model as labels."""

    def __init__(
        self,
        counter: Callable[..., Counter],
        histogram: Callable[..., Histogram],
        gauge: Callable[..., Gauge],
        rest: Rest,
        *,
        removes: bool,
    ) -> None:
        """`rest` gets what is not counted by version. `removes`: whether series can be removed."""
        self.rest = rest
        self.removes = removes
        self.predictions = counter(
            "sentiment_predictions", "Predictions by the most likely label.", ["label", *_VERSION]
        )
        self.confidence = histogram(
            "sentiment_confidence", "Probability of the predicted label.", _CONFIDENCES, _VERSION
        )
        self.abstained = counter(
            "sentiment_abstained", "Predictions without a label, below the limit of confidence.", _VERSION
        )
        self.depths = counter(
            "sentiment_depth", "Texts that a model with exits scored, by their layers.", ["layers", *_VERSION]
        )
        self.shallow = counter(
            "sentiment_shallow",
            "Of these, texts that needed more layers (SENTIMENT_BROWNOUT_MS).",
            _VERSION,
        )
        self.truncated = counter("sentiment_truncated", "Texts that were cut because they were too long.", _VERSION)
        self.errors = counter("sentiment_backend_errors", "Texts that the model failed on.", _VERSION)
        self.requests = counter("sentiment_version_requests", "Requests by the version that answered.", _VERSION)
        self.failures = counter(
            "sentiment_version_failures", "Of these, those that failed for a reason of the server's.", _VERSION
        )
        self.seconds = histogram("sentiment_version_seconds", "Time from a request to its answer.", _SECONDS, _VERSION)
        self.golden = gauge(
            "sentiment_golden_agreement", "Part of the golden texts with the published answer.", "livemin", _VERSION
        )
        self.drift = gauge("sentiment_drift", "Population stability index of answers.", "livemax", ["of", *_VERSION])
        self.shadowed = counter(
            "sentiment_shadow_texts", "Texts that a shadow saw, by how it answered.", ["outcome", *_VERSION]
        )
        self.difference = histogram(
            "sentiment_shadow_difference", "By how much the score of the label differs.", _DIFFERENCES, _VERSION
        )
        # An Info metric would look the same, but does not work with several workers.
        self.info = gauge("sentiment_model_info", "The versions of models that are loaded.", "livemax", _INFO)
        self.failed = gauge("sentiment_version_failed", "1 for a version that failed, else 0.", "livemax", _VERSION)
        self._versions: set[tuple[str, str]] = set()
        self._by_state = gauge("sentiment_versions", "Versions by their state.", "livemax", ["model", "state"])
        self._counted: set[tuple[str, str]] = set()

    def of(self, info: ModelInfo) -> "VersionMetrics":
        """Return the metrics of a version that is loaded now."""
        names = (info.model, info.model_version)
        if not self.removes and len(self._versions | {names}) > _MOST_VERSIONS:
            names = _OTHER
        self._versions.add(names)
        return VersionMetrics(self, info, names)

    def count_states(self, counts: Mapping[tuple[str, str], int]) -> None:
        """So many versions of a model are in a state, by model and state. Also of those never loaded."""
        for names in self._counted - counts.keys():
            if self.removes:
                self._by_state.remove(*names)
            else:
                self._by_state.labels(*names).set(0)
        for names, count in counts.items():
            self._by_state.labels(*names).set(count)
        self._counted = set(counts) if self.removes else self._counted | set(counts)

    def series(self) -> list[Any]:
        """Return the metrics whose labels end with those of a version."""
        metrics = [metric for metric in vars(self).values() if isinstance(metric, Counter | Gauge | Histogram)]
        return [metric for metric in metrics if metric is not self._by_state]


class VersionMetrics:
    """The metrics of one version. Label lookups are done once, because a lookup takes longer than an increment."""

    def __init__(self, models: ModelMetrics, info: ModelInfo, names: tuple[str, str]) -> None:
        self._models = models
        self._names = names
        self._neutral: dict[Gauge, float] = {}  # what each gauge that is set has when the version is gone
        self._info = (*names, *(str(getattr(info, name)) for name in _INFO[2:-1]), _checksum(info, names))
        self._label = functools.cache(lambda label: models.predictions.labels(label, *names))
        for label in info.labels:
            self._label(label)
        self._depth = functools.cache(lambda layers: models.depths.labels(str(layers), *names))
        self._shallow = models.shallow.labels(*names)
        self._confidence = models.confidence.labels(*names)
        self._abstained = models.abstained.labels(*names)
        self._truncated = models.truncated.labels(*names)
        self._errors = models.errors.labels(*names)
        self._requests = models.requests.labels(*names)
        self._failures = models.failures.labels(*names)
        self._seconds = models.seconds.labels(*names)
        self._shadowed = {
            outcome: models.shadowed.labels(outcome, *names) for outcome in ("agree", "differ", "failed", "skipped")
        }
        models.info.labels(*self._info).set(1)
        models.failed.labels(*names).set(0)

    def answered(self, seconds: float, *, failed: bool) -> None:
        """A request was answered, or failed for a reason that is not the client's."""
        self._requests.inc()
        self._seconds.observe(seconds)
        if failed:
            self._failures.inc()

    def predicted(self, prediction: Prediction) -> None:
        """A text got a prediction, from the model or from the cache."""
        self._label(prediction.label).inc()
        self._confidence.observe(prediction.confidence)
        if prediction.shown_label is None:
            self._abstained.inc()
        if prediction.truncated:
            self._truncated.inc()

    def backend_failed(self) -> None:
        """The model failed on a text."""
        self._errors.inc()

    def computed(self, prediction: Prediction, tokens: int) -> None:  # noqa: ARG002 - see `Observer`
        """The model has scored a text of so many tokens."""
        if prediction.layers:
            self._depth(prediction.layers).inc()
        if prediction.shallow:
            self._shallow.inc()

    def scored(self, seconds: float) -> None:
        """A request was scored by this version as a shadow: its caller got the answer of another one."""
        self._seconds.observe(seconds)

    def golden_checked(self, agreement: float) -> None:
        """So large a part of the golden texts got the published answer."""
        self._set(self._models.golden.labels(*self._names), agreement, neutral=1)

    def drifted(self, scores: dict[str, float]) -> None:
        """Answers differ so much from those of the development texts."""
        for name, score in scores.items():
            self._set(self._models.drift.labels(name, *self._names), score, neutral=0)

    def _set(self, gauge: Gauge, value: float, *, neutral: float) -> None:
        gauge.set(value)
        self._neutral[gauge] = neutral

    def shadowed(self, outcome: str, difference: float | None = None) -> None:
        """A shadow has, or has not, answered a text that another version answered."""
        self._shadowed[outcome].inc()
        if difference is not None:
            self._models.difference.labels(*self._names).observe(difference)

    def state_changed(self, *, failed: bool) -> None:
        """The version has failed, or has not."""
        self._models.failed.labels(*self._names).set(failed)

    def forget(self) -> None:
        """The version is gone: its series end, where that is possible."""
        models = self._models
        models.info.labels(*self._info).set(0)
        models.failed.labels(*self._names).set(0)
        if not models.removes:
            for gauge, neutral in self._neutral.items():  # otherwise an alert would go on until the next start
                gauge.set(neutral)
            return
        models.info.remove(*self._info)
        for metric in models.series():
            if metric is not models.info:
                metric.remove_by_labels(dict(zip(_VERSION, self._names, strict=True)))

    def tokenized(self, seconds: float) -> None:
        """See `Metrics`."""
        self._models.rest.tokenized(seconds)

    def looked_up(self, outcome: CacheOutcome, texts: int) -> None:
        """See `Metrics`."""
        self._models.rest.looked_up(outcome, texts)

    def varied(self, variants: int) -> None:
        """See `Metrics`."""
        self._models.rest.varied(variants)

    def windowed(self, texts: int) -> None:
        """See `Metrics`."""
        self._models.rest.windowed(texts)


def _checksum(info: ModelInfo, names: tuple[str, str]) -> str:
    return "other" if names == _OTHER else str(info.checksum)
