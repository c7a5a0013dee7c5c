"""Traces of requests, batches and jobs, with OpenTelemetry: the only module that imports it, and only if traces are on.

    POST /predict          a span of each request, from the first byte of its body to the last of its response
    ├── tokenize           normalised, looked up in the cache, tokenised
    ├── queue              until a slot has taken the first of its texts
    └── infer              until the last of its texts has a result
    batch                  what the model runs at once: a trace of its own, with links to its requests and back
    job                    an attempt to run a job: in the trace of the request that has sent it

Spans have no text of a user: neither bodies nor paths, queries or headers. Those below the span of a request are made
from times that others have measured, so that the hot path knows nothing of them.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from . import __version__
from .errors import SetupError
from .logs import log
from .metrics import METHODS
from .scheduling import BatchObserver
from .trace_context import Trace, current
from .trace_ids import TraceIds
from .types import Answer

try:
    from opentelemetry import propagate
    from opentelemetry.context import Context
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.propagators.textmap import Getter
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
    from opentelemetry.sdk.trace.id_generator import IdGenerator
    from opentelemetry.sdk.trace.sampling import ALWAYS_ON
    from opentelemetry.trace import Link, Span, SpanKind, StatusCode, set_span_in_context
except ModuleNotFoundError as error:
    raise SetupError("SENTIMENT_TRACING: traces need an extra: pip install 'rt-sentiment[tracing]'") from error

if TYPE_CHECKING:
    from .jobs import Job

_NAME = "rt-sentiment"
_FLUSH_S = 3.0  # at the end of the process, for spans that have not been sent
_ROOT = Context()
_NOT_SENT = "the collector (OTEL_EXPORTER_OTLP_ENDPOINT) cannot be reached or refuses them"
_MAX_LINKS = 128  # of a request to batches: a stream may have texts in any number of them
# The standard variables of which only one value is implemented here.
_ONLY = {
    "OTEL_TRACES_EXPORTER": "otlp",
    "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
}


class Tracing:
    """Makes spans, and sends them in the background. Raises `SetupError` if the variables `OTEL_*` are not valid."""

    def __init__(self) -> None:
        check_variables()
        self._ids = TraceIds(os.environ)
        try:
            self._exporter = _Exporter(OTLPSpanExporter())
            self._processor = BatchSpanProcessor(cast("SpanExporter", self._exporter))
            ids = cast("IdGenerator", self._ids)
            requests = TracerProvider(resource=_resource(), id_generator=ids, shutdown_on_exit=False)
            # A batch has no parent, and is recorded if one of its requests is.
            batches = TracerProvider(sampler=ALWAYS_ON, resource=_resource(), shutdown_on_exit=False)
        except ValueError as error:
            raise SetupError(f"SENTIMENT_TRACING: a variable OTEL_* is not valid: {error}") from None
        for provider in (requests, batches):
            provider.add_span_processor(self._processor)
        self.tracer = requests.get_tracer(_NAME, __version__)
        self._batches = batches.get_tracer(_NAME, __version__)
        # From now on, it would log each attempt to reach the collector, and each span that it cannot keep.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)

    def begin(self, method: str, route: str | None, headers: Mapping[bytes, bytes]) -> Trace | None:
        """Begin the span of a request, which continues the trace that its headers name.

        One that names none and is not sampled has no trace, and costs next to nothing.
        """
        is_root = headers.keys().isdisjoint(_NAMES)
        if is_root and self._ids.drop():
            return None
        attributes = {"http.request.method": method if method in METHODS else "_OTHER"}
        if route:
            attributes["http.route"] = route
        name = f"{method if method in METHODS else 'HTTP'} {route or ''}".rstrip()
        parent = _ROOT if is_root else propagate.extract(headers, _ROOT, _HEADERS)
        span = self.tracer.start_span(name, parent, SpanKind.SERVER, attributes)
        # It is not valid if OTEL_SDK_DISABLED is true.
        return RequestTrace(self, span) if span.get_span_context().is_valid else None

    def observe(self, observer: BatchObserver) -> BatchObserver:
        """Return an observer that makes spans of batches, and tells `observer` everything."""
        return _Batches(self, observer)

    def batch_finished(self, texts: int, tokens: int, run_s: float, requests: Sequence["RequestTrace"]) -> None:
        """A batch with texts of these requests ran until now."""
        if not (linked := [request for request in requests if request.links < _MAX_LINKS]):
            return
        end_ns = time.time_ns()
        batch = self._batches.start_span(
            "batch",
            _ROOT,
            attributes={"sentiment.batch.texts": texts, "sentiment.batch.tokens": tokens},
            links=[Link(request.span.get_span_context()) for request in linked],
            start_time=end_ns - round(run_s * 1e9),
        )
        batch.end(end_ns)
        for request in linked:
            request.links += 1
            if request.span.is_recording():  # its client may have left
                request.span.add_link(batch.get_span_context())

    def close(self) -> None:
        """Send what has not been sent, but only for some seconds: the collector may be away."""
        thread = threading.Thread(target=self._processor.shutdown, daemon=True)
        thread.start()
        thread.join(_FLUSH_S)
        if thread.is_alive():
            self._exporter.shutdown()


class RequestTrace:
    """The span of a request, and those below it. See `trace_context.Trace`."""

    __slots__ = ("_tracing", "is_sampled", "links", "span", "trace_id")

    def __init__(self, tracing: Tracing, span: Span) -> None:
        self._tracing = tracing
        self.span = span
        self.trace_id = f"{span.get_span_context().trace_id:032x}"
        self.is_sampled = span.is_recording()
        self.links = 0  # to batches

    @property
    def response_header(self) -> bytes:
        return f"00-{self.trace_id}-{self.span.get_span_context().span_id:016x}-{int(self.is_sampled):02x}".encode()

    def carrier(self) -> dict[str, str]:
        headers: dict[str, str] = {}
        propagate.inject(headers, set_span_in_context(self.span, _ROOT))
        return headers

    def answered(self, answer: Answer) -> None:
        if not self.is_sampled:
            return
        self.span.set_attributes({"sentiment.texts": len(answer.results), "sentiment.cache": answer.cache})
        if not answer.queued_s:
            return
        parent = set_span_in_context(self.span, _ROOT)
        # From the clock of the service to that of spans.
        start_ns = time.time_ns() - round((time.monotonic() - answer.queued_s + answer.tokenize_ms / 1000) * 1e9)
        for name, ms in (("tokenize", answer.tokenize_ms), ("queue", answer.queue_ms), ("infer", answer.infer_ms)):
            end_ns = start_ns + round(ms * 1e6)
            self._tracing.tracer.start_span(name, parent, start_time=start_ns).end(end_ns)
            start_ns = end_ns

    def end(self, status: int, attributes: Mapping[str, object]) -> None:
        _describe(self.span, attributes)
        self.span.set_attribute("http.response.status_code", status)
        if status >= 500:
            self.span.set_attribute("error.type", str(status))
            self.span.set_status(StatusCode.ERROR)
        self.span.end()


@contextmanager
def trace_job(job: "Job") -> Iterator[dict[str, object]]:
    """Make a span of what runs in this context, with attributes from the dictionary, and send it at the end."""
    tracing = Tracing()
    parent = propagate.extract(job.trace, _ROOT)
    span = tracing.tracer.start_span(f"job {job.type}", parent, SpanKind.CONSUMER)
    about: dict[str, object] = {"job": job.id, "type": job.type, "attempt": job.attempts}
    token = current.set(RequestTrace(tracing, span))
    try:
        yield about
    except BaseException as error:
        about["error"] = type(error).__name__
        raise
    finally:
        _describe(span, about)
        if "error" in about or about.get("status") == "failed":
            span.set_status(StatusCode.ERROR)
        span.end()
        current.reset(token)
        tracing.close()


def check_variables() -> None:
    """Raise `SetupError` if a variable asks for what is not implemented, rather than send spans in another way."""
    for name, value in _ONLY.items():
        if (given := os.environ.get(name, "").strip()) not in ("", value):
            raise SetupError(f"{name}: {given!r} is not possible here; the only value is {value}")


def _describe(span: Span, attributes: Mapping[str, object]) -> None:
    for name, value in attributes.items():
        if isinstance(value, str | int | float) and value != "":
            span.set_attribute(f"sentiment.{name}", value)


def _resource() -> Resource:
    """Return what describes this process. The variables OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES come first."""
    ours: dict[str, Any] = {"service.name": _NAME, "service.version": __version__, "process.pid": os.getpid()}
    return Resource.create({**ours, **OTELResourceDetector().detect().attributes})


class _Batches:
    """Makes spans of batches beside what another observer does."""

    def __init__(self, tracing: Tracing, observer: BatchObserver) -> None:
        self._tracing = tracing
        self._observer = observer
        self.refused = observer.refused

    def batch_finished(self, texts: int, tokens: int, queue_s: float, run_s: float, requests: Sequence[Any]) -> None:
        self._observer.batch_finished(texts, tokens, queue_s, run_s, requests)
        if requests:
            self._tracing.batch_finished(texts, tokens, run_s, requests)


class _HeadersGetter(Getter[Mapping[bytes, bytes]]):
    def get(self, carrier: Mapping[bytes, bytes], key: str) -> list[str] | None:
        value = carrier.get(key.encode())
        return None if value is None else [value.decode("latin-1")]

    def keys(self, carrier: Mapping[bytes, bytes]) -> list[str]:
        return [name.decode("latin-1") for name in carrier]


_HEADERS = _HeadersGetter()
_NAMES = {name.lower().encode() for name in propagate.get_global_textmap().fields}  # of headers with a trace


class _Exporter:
    """Sends spans to the collector. Logs once when that fails, and once when it works again."""

    def __init__(self, exporter: OTLPSpanExporter) -> None:
        self._exporter = exporter
        self.shutdown: Callable[[], None] = exporter.shutdown  # gives up what is being sent
        self._is_failing = False

    def export(self, spans: Sequence[Any]) -> SpanExportResult:
        result = self._exporter.export(spans)
        if (is_failing := result is not SpanExportResult.SUCCESS) != self._is_failing:
            self._is_failing = is_failing
            if is_failing:
                log(logging.WARNING, "traces not sent", reason=_NOT_SENT)
            else:
                log(logging.INFO, "traces sent again")
        return result
