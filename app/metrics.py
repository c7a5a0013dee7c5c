"""Prometheus metrics. Every label takes its values from a short list of ours: callers cannot add any."""

import functools
import math
import os
import time
from collections.abc import Sequence
from typing import Literal

from prometheus_client import (
    PLATFORM_COLLECTOR,
    PROCESS_COLLECTOR,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

from .types import ModelInfo

# Seconds: from a cache hit or a lone short text to what no caller waits for.
SECONDS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each counter, which nobody reads
_POWERS = tuple(2.0**power for power in range(10))
# Of the best label: from a guess among three to certainty.
_CONFIDENCES = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_MODEL_LABELS = ("model", "model_version", "backend", "device", "precision", "checksum")
_LOOK_EVERY_S = 5.0
# How the gauges of several workers make one: over those that live.
_Mode = Literal["livesum", "livemin", "livemax"]
_OF_PROCESS: dict[str, _Mode] = {
    "process_resident_memory_bytes": "livesum",
    "process_open_fds": "livesum",
    "process_max_fds": "livesum",
    "process_start_time_seconds": "livemax",
}


class Metrics:
    """One set of metrics on a registry of its own, so that two apps in one process don't share them.

    With several workers prometheus_client counts in files, which whichever worker is asked adds up.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._process = _Process(registry) if _shared() else None
        if not self._process:
            registry.register(PROCESS_COLLECTOR)
            registry.register(PLATFORM_COLLECTOR)
        self._stage = Histogram(
            "sentiment_stage_seconds", "Seconds per stage of a request.", ["stage"], buckets=SECONDS, registry=registry
        )
        self._batch_texts = Histogram(
            "sentiment_batch_texts", "Texts per batch that the model ran.", buckets=_POWERS, registry=registry
        )
        self._batch_tokens = Counter(
            "sentiment_batch_padded_tokens",
            "Tokens of the texts that the model ran, with padding where it cannot pack.",
            registry=registry,
        )
        self._cache = Counter("sentiment_cache", "Texts by cache outcome.", ["outcome"], registry=registry)
        self._refused = Counter("sentiment_refused", "Requests turned away.", ["reason"], registry=registry)
        self._errors = Counter("sentiment_backend_errors", "Texts that the model failed on.", registry=registry)
        self._labels = Counter("sentiment_predictions", "Predictions by label.", ["label"], registry=registry)
        self._confidence = Histogram(
            "sentiment_confidence", "Probability of the label.", buckets=_CONFIDENCES, registry=registry
        )
        self._truncated = Counter("sentiment_truncated", "Texts longer than the model reads.", registry=registry)
        self._windowed = Counter("sentiment_windowed", "Texts scored by several windows.", registry=registry)

        def gauge(name: str, says: str, mode: _Mode, labels: Sequence[str] = ()) -> Gauge:
            return Gauge(name, says, labels, registry=registry, multiprocess_mode=mode)

        # An Info would be the same to a reader, but cannot be shared by workers.
        self._model = gauge("sentiment_model_info", "The model that answers.", "livemax", _MODEL_LABELS)
        self._ready = gauge("sentiment_ready", "1 while predictions are answered, else 0.", "livemin")
        self._slots = gauge("sentiment_slots", "Batches that can run at a time.", "livesum")
        self._depth = gauge("sentiment_queue_texts", "Texts that wait for the model.", "livesum")
        self._wait = gauge("sentiment_predicted_wait_seconds", "Wait that a new text would have.", "livemax")
        self._http = Counter("http_requests", "Requests.", ["method", "handler", "status"], registry=registry)
        self._http_seconds = Histogram(
            "http_request_duration_seconds",
            "Seconds per request.",
            ["handler", "status_class"],
            buckets=SECONDS,
            registry=registry,
        )
        # Labels are looked up once: a lookup takes longer than an increment. And a series that is there from the start
        # has a rate from its first event on.
        self._stages = {stage: self._stage.labels(stage) for stage in ("tokenize", "queue", "infer")}
        self._outcomes = {outcome: self._cache.labels(outcome) for outcome in ("hit", "miss", "joined")}
        self._reasons = {reason: self._refused.labels(reason) for reason in ("wait", "full", "deadline")}
        self._label = functools.cache(self._labels.labels)
        self._answers = functools.cache(self._of_answers)

    def exposition(self) -> bytes:
        """All series, in Prometheus' text format."""
        registry = self.registry
        if self._process:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)

    def answered(self, method: str, path: str, status: int, seconds: float) -> None:
        """A request was answered; `path` is its route's, or "none"."""
        count, durations = self._answers(method if method in METHODS else "other", path, status)
        count.inc()
        durations.observe(seconds)

    def _of_answers(self, method: str, path: str, status: int) -> tuple[Counter, Histogram]:
        return self._http.labels(method, path, str(status)), self._http_seconds.labels(path, f"{status // 100}xx")

    def unreadable(self, status: int) -> None:
        """What came was no request, and was refused with `status`."""
        self._http.labels("other", "none", str(status)).inc()

    def model_loaded(self, info: ModelInfo, slots: int) -> None:
        """Say which model answers and how many batches it runs at a time."""
        self._model.labels(*(str(getattr(info, name)) for name in _MODEL_LABELS)).set(1)
        for label in info.labels:
            self._label(label)
        self._slots.set(slots)

    def state(self, *, ready: bool, depth: int, wait_s: float) -> None:
        """Set what holds at this moment."""
        if self._process:
            self._process.look()
        self._ready.set(ready)
        self._depth.set(depth)
        self._wait.set(wait_s)

    def tokenized(self, seconds: float) -> None:
        """A request's texts were tokenised."""
        self._stages["tokenize"].observe(seconds)

    def batch_finished(self, texts: int, tokens: int, queue_s: float, run_s: float) -> None:
        """A batch ran; its first text had waited `queue_s`."""
        self._batch_texts.observe(texts)
        self._batch_tokens.inc(tokens)
        self._stages["queue"].observe(queue_s)
        self._stages["infer"].observe(run_s)

    def refused(self, reason: str) -> None:
        """A request was turned away; the reasons are a handful of words of our own."""
        self._reasons[reason].inc()

    def looked_up(self, outcome: str, texts: int) -> None:
        """Texts were known ("hit"), had to be computed ("miss"), or joined a computation under way ("joined")."""
        if texts:
            self._outcomes[outcome].inc(texts)

    def predicted(self, label: str, confidence: float, truncated: bool) -> None:
        """A text was given a label, by the model or from the cache."""
        self._label(label).inc()
        self._confidence.observe(confidence)
        if truncated:
            self._truncated.inc()

    def windowed(self, texts: int) -> None:
        """Texts were scored by several windows, having more tokens than the model reads."""
        self._windowed.inc(texts)

    def backend_failed(self) -> None:
        """The model failed on a text."""
        self._errors.inc()


def _shared() -> bool:
    return "PROMETHEUS_MULTIPROC_DIR" in os.environ


class _Process:
    """What prometheus_client tells of one process, for several."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._gauges = {
            name: Gauge(name, "Of all workers.", registry=registry, multiprocess_mode=mode)
            for name, mode in _OF_PROCESS.items()
        }
        self._cpu = Counter("process_cpu_seconds", "Of all workers.", registry=registry)
        self._cpu_s = 0.0
        self._looked_s = -math.inf

    def look(self) -> None:
        """Take what holds, now and then: it means to list every open socket."""
        if (now_s := time.monotonic()) < self._looked_s + _LOOK_EVERY_S:
            return
        self._looked_s = now_s
        for sample in (sample for family in PROCESS_COLLECTOR.collect() for sample in family.samples):
            if sample.name in self._gauges:
                self._gauges[sample.name].set(sample.value)
            elif sample.name == "process_cpu_seconds_total":
                self._cpu.inc(sample.value - self._cpu_s)
                self._cpu_s = sample.value
