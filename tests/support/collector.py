"""A stub of an OpenTelemetry collector: it keeps the spans that it gets over OTLP (HTTP, protobuf)."""

import contextlib
import gzip
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support.waiting import until

SERVER, CONSUMER, INTERNAL = 2, 5, 1  # kinds of spans


@dataclass(frozen=True)
class Span:
    """One span, and the resource of the process that has sent it."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: int
    start_ns: int
    end_ns: int
    attributes: dict[str, Any]
    links: list[tuple[str, str]]  # trace and span
    is_error: bool
    state: str
    resource: dict[str, Any]

    @property
    def place(self) -> tuple[str, str]:
        """What a link to it has."""
        return self.trace_id, self.span_id


class Collector:
    """Keeps spans. `address` is its base URL."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.spans: list[Span] = []

    @property
    def settings(self) -> dict[str, str]:
        """The environment of a server that sends all spans here, at once."""
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": self.address, "OTEL_BSP_SCHEDULE_DELAY": "20"}

    def of_trace(self, trace_id: str) -> list[Span]:
        """The spans of a trace, in the order in which they began."""
        spans = [span for span in list(self.spans) if span.trace_id == trace_id]
        return sorted(spans, key=lambda span: (span.start_ns, span.parent_id != ""))

    def wait_for(self, trace_id: str, *names: str) -> list[Span]:
        """Wait until a trace has spans with exactly these names, in the order in which they began."""
        until(
            lambda: sorted(span.name for span in self.of_trace(trace_id)) == sorted(names),
            on_timeout=lambda: str(self.of_trace(trace_id)),
        )
        return self.of_trace(trace_id)

    def wait_for_batches(self, trace_id: str) -> list[Span]:
        """Wait until there are batches that are linked to a trace."""

        def batches() -> list[Span]:
            linked = [span for span in list(self.spans) if span.name == "batch"]
            return [span for span in linked if trace_id in {trace for trace, _ in span.links}]

        return until(batches)

    def receive(self, body: bytes) -> None:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        for group in ExportTraceServiceRequest.FromString(body).resource_spans:
            resource = _attributes(group.resource.attributes)
            self.spans += [_span(span, resource) for scope in group.scope_spans for span in scope.spans]


def _span(span: Any, resource: dict[str, Any]) -> Span:
    return Span(
        span.name,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.kind,
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        _attributes(span.attributes),
        [(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
        span.status.code == 2,
        span.trace_state,
        resource,
    )


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}


@contextlib.contextmanager
def collecting(port: int = 0) -> Iterator[Collector]:
    """Run a collector, on a free port by default."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            is_packed = self.headers.get("content-encoding") == "gzip"
            collector.receive(gzip.decompress(body) if is_packed else body)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    collector = Collector(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
