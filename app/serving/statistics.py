"""What one version has answered, for the people who have to judge it. Counts only: no texts."""

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np

from ..inference import CONFIDENCE_EDGES, Histogram
from ..types import CacheOutcome, Prediction
from .canary import Recent
from .drift import Drift
from .observer import Observer

_RECENT = 2048  # the newest requests
_MOST_DIFFERENCES = 2048  # of the newest texts that a shadow saw


class VersionMetrics(Observer, Protocol):
    """The metrics of one version."""

    def answered(self, seconds: float, *, failed: bool) -> None:
        """A request was answered, or failed for a reason that is not the client's."""

    def scored(self, seconds: float) -> None:
        """A request was scored as a shadow: its caller got the answer of another version."""

    def golden_checked(self, agreement: float) -> None:
        """So large a part of the golden texts got the published answer."""

    def state_changed(self, *, failed: bool) -> None:
        """The version has failed, or has not."""

    def drifted(self, scores: dict[str, float]) -> None:
        """Answers differ so much from those of the development texts."""

    def shadowed(self, outcome: str, difference: float | None = None) -> None:
        """A shadow has, or has not, answered a text that another version answered."""

    def forget(self) -> None:
        """The version is gone: its series end."""


class Agreement:
    """How often a shadow gave the label that the caller got, and by how much the score of that label differed."""

    def __init__(self) -> None:
        self.texts = self.agreeing = 0
        self._differences: deque[float] = deque(maxlen=_MOST_DIFFERENCES)

    def add(self, answer: Prediction, shadow: Prediction) -> tuple[bool, float]:
        """Count two answers to one text; return whether the labels agree, and the difference of the scores."""
        agrees = answer.label == shadow.label
        difference = abs(answer.confidence - shadow.scores.get(answer.label, 0.0))
        self.texts += 1
        self.agreeing += agrees
        self._differences.append(difference)
        return agrees, difference

    def differences(self) -> tuple[float, float] | None:
        """Return the mean and the 95th percentile of the differences; None before the first."""
        if not self._differences:
            return None
        values = np.array(self._differences)
        return float(values.mean()), float(np.quantile(values, 0.95))


class Statistics:
    """Counts for one version what it answers, and passes everything on to its metrics."""

    def __init__(self, labels: Sequence[str], metrics: VersionMetrics, drift: Drift | None = None) -> None:
        self.confidence_edges = CONFIDENCE_EDGES
        self.predictions = Counter(dict.fromkeys(labels, 0))
        self.confidence = [0] * (len(CONFIDENCE_EDGES) + 1)
        self.requests = self.errors = 0
        self.agreement = Agreement()  # as a shadow
        self.drift = drift
        self.metrics = metrics
        self._bins = Histogram(CONFIDENCE_EDGES, ())
        self._durations_s: deque[float] = deque(maxlen=_RECENT)
        self._failures: deque[bool] = deque(maxlen=_RECENT)  # of the same requests

    def answered(self, seconds: float, *, failed: bool = False) -> None:
        """A request was answered, or failed for a reason that is not the client's."""
        self.requests += 1
        self.errors += failed
        self._durations_s.append(seconds)
        self._failures.append(failed)
        self.metrics.answered(seconds, failed=failed)

    def scored(self, seconds: float, predictions: Iterable[Prediction]) -> None:
        """A request was scored as a shadow. Its answers are counted here, and not with those that callers get."""
        self.requests += 1
        self._durations_s.append(seconds)
        self._failures.append(False)
        self.metrics.scored(seconds)
        for prediction in predictions:
            self._count(prediction)

    def latency_ms(self) -> dict[str, float] | None:
        """Return quantiles of the time that the newest requests took, in milliseconds; None before the first."""
        if not self._durations_s:
            return None
        values = np.quantile(np.array(self._durations_s), [0.5, 0.95, 0.99]) * 1000
        return {name: round(float(value), 3) for name, value in zip(("p50", "p95", "p99"), values, strict=True)}

    def recent(self) -> Recent:
        """Return how the newest requests ended."""
        latency = self.latency_ms()
        return Recent(len(self._failures), sum(self._failures), latency["p99"] if latency else 0.0)

    def forget_recent(self) -> None:
        """Begin again to collect the newest requests."""
        self._durations_s.clear()
        self._failures.clear()

    def computed(self, prediction: Prediction, tokens: int) -> None:
        """See `Observer`."""
        if self.drift and not prediction.shallow:
            self.drift.observe(prediction.label, prediction.confidence, tokens)
        self.metrics.computed(prediction, tokens)

    def predicted(self, prediction: Prediction) -> None:
        """See `Observer`."""
        self._count(prediction)
        self.metrics.predicted(prediction)

    def tokenized(self, seconds: float) -> None:
        """See `Observer`."""
        self.metrics.tokenized(seconds)

    def looked_up(self, outcome: CacheOutcome, texts: int) -> None:
        """See `Observer`."""
        self.metrics.looked_up(outcome, texts)

    def varied(self, variants: int) -> None:
        """See `Observer`."""
        self.metrics.varied(variants)

    def windowed(self, texts: int) -> None:
        """See `Observer`."""
        self.metrics.windowed(texts)

    def backend_failed(self) -> None:
        """See `Observer`."""
        self.metrics.backend_failed()

    def _count(self, prediction: Prediction) -> None:
        self.predictions[prediction.label] += 1
        self.confidence[self._bins.bin(prediction.confidence)] += 1
