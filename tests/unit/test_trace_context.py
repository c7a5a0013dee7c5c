"""What the log, the metrics and errors know of traces, without a library for them."""

import json
import logging
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from app import logs, trace_context
from app.api.errors import no_such_path
from app.metrics import Metrics
from app.trace_ids import TraceIds
from app.types import Answer
from tests.support.middleware import Bench
from tests.support.process import ROOT

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"


class FakeTrace:
    trace_id = TRACE_ID
    response_header = b"00-trace-span-01"

    def __init__(self, *, is_sampled: bool = True) -> None:
        self.is_sampled = is_sampled
        self.status: int | None = None

    def carrier(self) -> dict[str, str]:
        return {}

    def answered(self, answer: Answer) -> None:
        raise NotImplementedError

    def end(self, status: int, attributes: Mapping[str, object]) -> None:
        self.status = status


class FakeTracer:
    def __init__(self) -> None:
        self.begun: list[tuple[str, str | None]] = []
        self.trace = FakeTrace()

    def begin(self, method: str, route: str | None, headers: Mapping[bytes, bytes]) -> FakeTrace:
        self.begun.append((method, route))
        return self.trace


async def test_the_middleware_ends_what_it_begins_except_for_probes() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await no_such_path("id")(scope, receive, send)

    tracer = FakeTracer()
    bench = Bench(app=app, tracer=tracer)
    response = await bench.request("/nothing", "GET")
    assert response.json["trace_id"] == TRACE_ID
    assert response.headers["traceresponse"] == "00-trace-span-01"
    assert int(response.headers["content-length"]) == len(response.body)
    assert (tracer.begun, tracer.trace.status) == ([("GET", None)], 404)
    assert "trace_id" not in (await bench.request("/livez", "GET")).json
    assert len(tracer.begun) == 1


def test_lines_of_a_trace_have_its_id(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.root, "handlers", logging.root.handlers)
    monkeypatch.setattr(logging.root, "level", logging.root.level)
    logs.configure("json", "info")
    logs.log(logging.INFO, "before")
    token = trace_context.current.set(FakeTrace())
    logs.log(logging.INFO, "during")
    trace_context.current.reset(token)
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(line["event"], line.get("trace_id")) for line in lines] == [("before", None), ("during", TRACE_ID)]


@pytest.mark.parametrize("is_sampled", [True, False])
def test_only_a_trace_that_is_sent_is_an_exemplar(*, is_sampled: bool) -> None:
    metrics = Metrics(CollectorRegistry(), trace_context.exemplar)
    token = trace_context.current.set(FakeTrace(is_sampled=is_sampled))
    metrics.answered("POST", "/predict", 200, 0.01)
    trace_context.current.reset(token)
    text, content_type = metrics.exposition("application/openmetrics-text")
    assert content_type.startswith("application/openmetrics-text")
    assert (f'# {{trace_id="{TRACE_ID}"}} 0.01 '.encode() in text) == is_sampled
    assert b"# {" not in metrics.exposition()[0]


def test_without_the_extra_an_error_says_what_to_install() -> None:
    code = "import sys; sys.modules['opentelemetry.sdk.resources'] = None; from app.cli import main; main()"
    command = [sys.executable, "-c", code, "serve", "--tracing", "--backend", "mock", "--port", "0"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    expected = "rt-sentiment: SENTIMENT_TRACING: traces need an extra: pip install 'rt-sentiment[tracing]'"
    assert expected in done.stderr


@pytest.mark.parametrize(("ratio", "is_dropped"), [("0", True), ("1", False), ("", False)])
def test_all_or_no_traces_are_dropped(ratio: str, is_dropped: bool) -> None:
    ids = TraceIds({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": ratio})
    assert {ids.drop() for _ in range(100)} == {is_dropped}


_NO_RATIOS = ("x", "nan", "inf", "-1", "2")


def test_ids_of_traces_are_dropped_at_the_rate_of_the_sampler() -> None:
    ids = TraceIds({"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.25"})
    sampled = 0
    for _ in range(4000):
        if not ids.drop():
            assert ids.generate_trace_id() % 2**64 < 2**62  # the one that was drawn
            sampled += 1
    assert 800 < sampled < 1200


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_TRACES_SAMPLER": "always_off"},
        *({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": ratio} for ratio in _NO_RATIOS),
    ],
)
def test_other_samplers_are_asked(environment: dict[str, str]) -> None:
    ids = TraceIds(environment)
    assert not ids.drop()
    assert 0 < ids.generate_trace_id() < 2**128
