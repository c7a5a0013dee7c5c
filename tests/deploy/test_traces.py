"""nginx passes the trace context of a client on to a replica, and its answer back."""

import httpx
import pytest

from tests.support.collector import collecting
from tests.support.replicas import running
from tests.support.waiting import HANG_S

pytest.importorskip("opentelemetry.exporter.otlp", reason="traces need the extra: pip install -e '.[tracing]'")

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
STAGES = ("tokenize", "queue", "infer")


def test_a_trace_goes_on_behind_nginx(monkeypatch: pytest.MonkeyPatch) -> None:
    headers = {"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "vendor=t61rcWkgMzE"}
    with collecting() as collector:
        for name, value in collector.settings.items():
            monkeypatch.setenv(name, value)
        with running("--replicas", "1", backend="mock", tracing="on") as replicas:
            response = httpx.post(
                f"{replicas.address}/predict", json={"text": "good"}, headers=headers, timeout=HANG_S, trust_env=False
            )
            request, *_ = collector.wait_for(TRACE, "POST /predict", *STAGES)
            lines = replicas.lines(path="/predict", request_id=response.headers["x-request-id"])
    assert response.headers["traceresponse"] == f"00-{TRACE}-{request.span_id}-01"
    assert (request.parent_id, request.state) == (SPAN, headers["tracestate"])
    assert [line["trace_id"] for line in lines] == [TRACE, TRACE]  # of the replica and of nginx
