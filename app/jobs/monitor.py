"""What a worker tells about itself and the queues: `/livez` for probes, and `/metrics` for Prometheus."""

import socket
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ..errors import NotReady
from .queue import QUEUES, Queues, job_of
from .records import Records

_ENDED = ("completed", "failed", "cancelled")


class JobsCollector(Collector):
    """The figures of all workers together, from Redis. While it is away, only `sentiment_jobs_redis_up` is there."""

    def __init__(self, records: Records, queues: Queues) -> None:
        self._records = records
        self._queues = queues

    def collect(self) -> Iterator[Metric]:
        """Read the figures."""
        up = GaugeMetricFamily("sentiment_jobs_redis_up", "1 if Redis responds, else 0.")
        try:
            families = [*self._from_redis()]
        except NotReady:
            families = []
        up.add_metric([], float(bool(families)))
        yield up
        yield from families

    def _from_redis(self) -> Iterator[Metric]:
        queued = GaugeMetricFamily("sentiment_jobs_queued", "Jobs that wait for a worker.", labels=["queue"])
        oldest = GaugeMetricFamily(
            "sentiment_jobs_oldest_seconds", "How long the first one has waited.", labels=["queue"]
        )
        for name in QUEUES:
            waiting = self._queues.waiting(name)
            first = self._records.get(job_of(waiting[0])) if waiting else None
            queued.add_metric([name], len(waiting))
            oldest.add_metric([name], max(0.0, time.time() - first.updated_at) if first else 0.0)
        yield queued
        yield oldest
        figures = self._records.figures()
        for figure, text in (
            ("running", "Jobs that run."),
            ("dead", "Failed jobs that can be tried again."),
            ("workers", "Workers that have been heard of within the last minutes."),
        ):
            yield GaugeMetricFamily(f"sentiment_jobs_{figure}", text, value=figures[figure])
        ended = CounterMetricFamily("sentiment_jobs_ended", "Jobs by how they ended.", labels=["status"])
        for status in _ENDED:
            ended.add_metric([status], figures[status])
        yield ended
        yield CounterMetricFamily(
            "sentiment_jobs_retries", "Attempts that failed and were repeated.", value=figures["retries"]
        )
        yield CounterMetricFamily("sentiment_jobs_rows", "Rows that were scored.", value=figures["rows"])


def start_monitor(listener: socket.socket, collector: Collector, is_alive: Callable[[], bool]) -> ThreadingHTTPServer:
    """Answer on a socket that listens, in a thread."""
    registry = CollectorRegistry()
    registry.register(collector)

    class Handler(BaseHTTPRequestHandler):
        timeout = 10.0

        def do_GET(self) -> None:
            if self.path == "/metrics":
                self._answer(200, CONTENT_TYPE_LATEST, generate_latest(registry))
            elif self.path == "/livez":
                alive = is_alive()
                self._answer(200 if alive else 503, "text/plain", b"ok\n" if alive else b"the worker does not go on\n")
            else:
                self._answer(404, "text/plain", b"only /livez and /metrics\n")

        def _answer(self, status: int, content_type: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the standard library
            """Probes and scrapes are not logged."""

    server = ThreadingHTTPServer(listener.getsockname()[:2], Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = listener
    Thread(target=server.serve_forever, name="monitor", daemon=True).start()
    return server
