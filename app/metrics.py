"""Prometheus metrics. Every label takes its values from a fixed short list, so clients cannot add series."""

import functools
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from prometheus_client import (
    PLATFORM_COLLECTOR,
    PROCESS_COLLECTOR,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector

from .model_metrics import ModelMetrics, VersionMetrics
from .trace_context import Trace
from .types import ModelInfo

# From a cache hit or a single short text to longer than any client waits.
SECONDS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_BATCH_SIZES = tuple(2.0**power for power in range(10))

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

# How the gauges of several workers are combined; only living workers count.
_Mode = Literal["livesum", "livemin", "livemax"]
_PROCESS_GAUGES: dict[str, _Mode] = {
    "process_resident_memory_bytes": "livesum",
    "process_open_fds": "livesum",
    "process_max_fds": "livesum",
    "process_start_time_seconds": "livemax",
}
_PROCESS_REFRESH_S = 5.0

disable_created_metrics()  # type: ignore[no-untyped-call]  # they would add a second series for each counter


class Metrics:
    """One set of metrics with its own registry, so that two apps in one process do not share them.

    With several workers prometheus_client counts in files, and the worker that is scraped adds them up. `exemplar`
    returns what leads from a duration to the current request; None if nothing does.
    """

    def __init__(
        self, registry: CollectorRegistry, exemplar: Callable[[], dict[str, str] | None] | None = None
    ) -> None:
        self.registry = registry
        self._exemplar = exemplar
        # With several workers the default process metrics would be those of the scraped worker only.
        self._workers = _WorkerProcesses(registry) if "PROMETHEUS_MULTIPROC_DIR" in os.environ else None
        if not self._workers:
            registry.register(PROCESS_COLLECTOR)
            registry.register(PLATFORM_COLLECTOR)

        def counter(name: str, documentation: str, labels: Sequence[str] = ()) -> Counter:
            return Counter(name, documentation, labels, registry=registry)

        def histogram(name: str, documentation: str, buckets: Sequence[float], labels: Sequence[str] = ()) -> Histogram:
            return Histogram(name, documentation, labels, buckets=buckets, registry=registry)

        def gauge(name: str, documentation: str, mode: _Mode, labels: Sequence[str] = ()) -> Gauge:
            return Gauge(name, documentation, labels, registry=registry, multiprocess_mode=mode)

        self._http = counter("http_requests", "HTTP requests.", ["method", "handler", "status"])
        self._http_seconds = histogram(
            "http_request_duration_seconds", "Duration of HTTP requests.", SECONDS, ["handler", "status_class"]
        )
        stages = histogram("sentiment_stage_seconds", "Duration of each stage of a request.", SECONDS, ["stage"])
        refused = counter("sentiment_refused", "Requests rejected by admission.", ["reason"])
        cache = counter("sentiment_cache", "Texts by the outcome of the cache lookup.", ["outcome"])
        shared = counter("sentiment_shared_cache", "Texts by the outcome of the lookup in Redis.", ["outcome"])
        written = counter("sentiment_shared_cache_writes", "Predictions by whether Redis got them.", ["outcome"])
        feedback = counter("sentiment_feedback", "Feedback by whether the predicted label was right.", ["outcome"])
        self._batch_texts = histogram("sentiment_batch_texts", "Texts per batch of the model.", _BATCH_SIZES)
        self._batch_tokens = counter("sentiment_batch_padded_tokens", "Tokens that the model ran, with any padding.")
        self._models = ModelMetrics(counter, histogram, gauge, self, removes=self._workers is None)
        self._variants = counter("sentiment_explanation_variants", "Variants of texts that explanations took.")
        self._windowed = counter("sentiment_windowed", "Long texts that were read in windows.")
        self._ready = gauge("sentiment_ready", "1 while the service is ready, else 0.", "livemin")
        self._slots = gauge("sentiment_slots", "Batches that can run at the same time.", "livesum")
        self._queued = gauge("sentiment_queue_texts", "Texts that wait for the model.", "livesum")
        self._wait = gauge("sentiment_predicted_wait_seconds", "Predicted wait of a new text.", "livemax")

        lines = counter("sentiment_stream_lines", "Lines of streams by the status of their answer.", ["status"])
        self._streams = gauge("sentiment_streams", "Open streams.", "livesum")

        # Label lookups are cached, because a lookup takes longer than an increment. Series that exist from the start
        # have a rate from their first event on.
        self._stages = {stage: stages.labels(stage) for stage in ("shared", "tokenize", "queue", "infer")}
        self._reasons = {reason: refused.labels(reason) for reason in ("wait", "full", "deadline")}
        self._outcomes = {outcome: cache.labels(outcome) for outcome in ("hit", "miss", "joined")}
        self._shared = {outcome: shared.labels(outcome) for outcome in ("hit", "miss", "failed", "skipped")}
        self._written = {outcome: written.labels(outcome) for outcome in ("written", "failed", "dropped")}
        self._feedback = {outcome: feedback.labels(outcome) for outcome in ("right", "wrong")}
        self._lines = functools.cache(lambda status: lines.labels(str(status)))
        self._responses = functools.cache(self._response_series)

    def exposition(self, accept: str = "") -> tuple[bytes, str]:
        """Return all series and their content type: Prometheus' text format or, if the client accepts it, OpenMetrics.

        Only OpenMetrics has exemplars.
        """
        encode, content_type = choose_encoder(accept)
        registry = self.registry
        if self._workers:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return encode(registry), content_type

    def answered(self, method: str, path: str, status: int, seconds: float) -> None:
        """A request was answered; `path` is the path of its route, or "none"."""
        count, durations = self._responses(method if method in METHODS else "other", path, status)
        count.inc()
        durations.observe(seconds, self._exemplar and self._exemplar())

    def _response_series(self, method: str, path: str, status: int) -> tuple[Counter, Histogram]:
        return self._http.labels(method, path, str(status)), self._http_seconds.labels(path, f"{status // 100}xx")

    def unreadable(self, status: int) -> None:
        """A malformed request was refused with `status`."""
        self._http.labels("other", "none", str(status)).inc()

    def model_loaded(self, info: ModelInfo, slots: int) -> VersionMetrics:
        """A version of a model was loaded; it runs `slots` batches at the same time. Return its own metrics."""
        self._slots.set(slots)
        return self._models.of(info)

    def count_versions(self, counts: Mapping[tuple[str, str], int]) -> None:
        """Set how many versions there are, by model and state, before a scrape."""
        self._models.count_states(counts)

    def state(self, *, ready: bool, depth: int, wait_s: float) -> None:
        """Set the gauges to the current state, before a scrape."""
        if self._workers:
            self._workers.refresh()
        self._ready.set(ready)
        self._queued.set(depth)
        self._wait.set(wait_s)

    def tokenized(self, seconds: float) -> None:
        """The texts of a request were tokenised."""
        self._stages["tokenize"].observe(seconds, self._exemplar and self._exemplar())

    def batch_finished(
        self, texts: int, tokens: int, queue_s: float, run_s: float, requests: Sequence[Trace] = ()
    ) -> None:
        """A batch ran; its first text had waited `queue_s`. `requests` are those with a trace."""
        trace = {"trace_id": requests[0].trace_id} if requests else None
        self._batch_texts.observe(texts)
        self._batch_tokens.inc(tokens)
        self._stages["queue"].observe(queue_s, trace)
        self._stages["infer"].observe(run_s, trace)

    def refused(self, reason: str) -> None:
        """Admission rejected a request: "wait", "full" or "deadline"."""
        self._reasons[reason].inc()

    def looked_up(self, outcome: str, texts: int) -> None:
        """Texts were cached ("hit"), computed ("miss"), or shared a computation already in progress ("joined")."""
        if texts:
            self._outcomes[outcome].inc(texts)

    def shared_looked_up(self, outcome: str, texts: int) -> None:
        """Texts were looked up in the shared cache, or could not be."""
        if texts:
            self._shared[outcome].inc(texts)

    def shared_waited(self, seconds: float) -> None:
        """A request waited for the shared cache."""
        self._stages["shared"].observe(seconds, self._exemplar and self._exemplar())

    def shared_written(self, outcome: str, predictions: int) -> None:
        """Predictions were written to the shared cache, or could not be."""
        if predictions:
            self._written[outcome].inc(predictions)

    def varied(self, variants: int) -> None:
        """Variants of texts were scored, for explanations."""
        self._variants.inc(variants)

    def windowed(self, texts: int) -> None:
        """Texts with too many tokens for the model were read in windows."""
        self._windowed.inc(texts)

    def stream_changed(self, streams: int) -> None:
        """So many more streams are open."""
        self._streams.inc(streams)

    def line_answered(self, status: int) -> None:
        """A line of a stream was answered, with the status that a request would have got."""
        self._lines(status).inc()

    def feedback_taken(self, *, is_right: bool) -> None:
        """Somebody said whether a predicted label was right."""
        self._feedback["right" if is_right else "wrong"].inc()


class _WorkerProcesses:
    """The process metrics of prometheus_client, combined over several workers."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._gauges = {
            name: Gauge(name, "All workers together.", registry=registry, multiprocess_mode=mode)
            for name, mode in _PROCESS_GAUGES.items()
        }
        self._cpu = Counter("process_cpu_seconds", "All workers together.", registry=registry)
        self._cpu_s = 0.0
        self._refreshed_s = -math.inf

    def refresh(self) -> None:
        """Read the metrics of this process, but not at every scrape: it lists every open socket."""
        if (now_s := time.monotonic()) < self._refreshed_s + _PROCESS_REFRESH_S:
            return
        self._refreshed_s = now_s
        for sample in (sample for family in PROCESS_COLLECTOR.collect() for sample in family.samples):
            if sample.name in self._gauges:
                self._gauges[sample.name].set(sample.value)
            elif sample.name == "process_cpu_seconds_total":
                self._cpu.inc(sample.value - self._cpu_s)
                self._cpu_s = sample.value
