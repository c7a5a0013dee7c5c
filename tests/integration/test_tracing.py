"""Traces of a real server, as an OpenTelemetry collector gets them."""

import itertools
import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from nginx.process import free_port
from tests.support.collector import CONSUMER, INTERNAL, SERVER, Collector, Span, collecting
from tests.support.jobs import JobsClient, worker
from tests.support.process import Server, serve
from tests.support.redis import redis
from tests.support.waiting import until

pytest.importorskip("opentelemetry.exporter.otlp", reason="traces need the extra: pip install -e '.[tracing]'")

CLIENT_TRACE, CLIENT_SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CLIENT = {"traceparent": f"00-{CLIENT_TRACE}-{CLIENT_SPAN}-01", "tracestate": "vendor=t61rcWkgMzE"}
NDJSON = {"content-type": "application/x-ndjson"}
OPEN_METRICS = {"accept": "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"}
STAGES = ("tokenize", "queue", "infer")


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as running:
        yield running


@pytest.fixture(scope="module")
def server(collector: Collector) -> Iterator[Server]:
    with serve(backend="mock", tracing="on", slots="1", environment=collector.settings) as running:
        yield running


def trace_of(response: httpx.Response) -> str:
    trace_id: str = response.headers["traceresponse"].split("-")[1]
    return trace_id


def by_name(spans: list[Span]) -> dict[str, Span]:
    return {span.name: span for span in spans}


def test_a_request_continues_the_trace_of_its_client(server: Server, collector: Collector) -> None:
    response = server.post({"text": "a good tree"}, headers=CLIENT)
    spans = collector.wait_for(CLIENT_TRACE, "POST /predict", *STAGES)
    request, *stages = spans
    assert (request.parent_id, request.kind, request.state) == (CLIENT_SPAN, SERVER, CLIENT["tracestate"])
    assert response.headers["traceresponse"] == f"00-{CLIENT_TRACE}-{request.span_id}-01"
    assert not request.is_error
    assert request.attributes == {
        "http.request.method": "POST",
        "http.route": "/predict",
        "http.response.status_code": 200,
        "sentiment.texts": 1,
        "sentiment.cache": "miss",
        "sentiment.model": "mock@mock",
        "sentiment.request_id": response.headers["x-request-id"],
    }
    assert request.resource["service.name"] == "rt-sentiment"
    assert [(stage.name, stage.parent_id, stage.kind) for stage in stages] == [
        (name, request.span_id, INTERNAL) for name in STAGES
    ]
    moments = [request.start_ns, *(moment for stage in stages for moment in (stage.start_ns, stage.end_ns))]
    assert [*moments, request.end_ns] == sorted([*moments, request.end_ns])


def test_the_stages_are_those_of_server_timing(server: Server, collector: Collector) -> None:
    response = server.post({"text": "a bad tree"})
    spans = by_name(collector.wait_for(trace_of(response), "POST /predict", *STAGES))
    for name, ms in re.findall(r"(tokenize|queue|infer);dur=([\d.]+)", response.headers["server-timing"]):
        assert (spans[name].end_ns - spans[name].start_ns) / 1e6 == pytest.approx(float(ms), abs=0.006)


def test_a_request_from_the_cache_has_no_stages(server: Server, collector: Collector) -> None:
    for _ in range(2):
        response = server.post({"text": "seen before"})
    (request,) = collector.wait_for(trace_of(response), "POST /predict")
    assert request.attributes["sentiment.cache"] == "hit"
    assert request.links == []


def test_a_batch_and_its_requests_are_linked_both_ways(server: Server, collector: Collector) -> None:
    """Requests that wait while the only slot is busy share the next batch."""
    numbers = itertools.count()

    def share_a_batch() -> bool:
        texts = ["[slow]", *(["waits"] * 4)]
        sent = [server.post_in_background({"text": f"{text} {next(numbers)}"}, "/predict") for text in texts]
        answers = [each.response() for each in sent]
        requests = [by_name(collector.wait_for(trace_of(each), "POST /predict", *STAGES)) for each in answers]
        batches = {batch.place: batch for each in answers for batch in collector.wait_for_batches(trace_of(each))}
        for spans in requests:
            request = spans["POST /predict"]
            (link,) = request.links
            assert request.place in batches[link].links
            assert batches[link].end_ns <= request.end_ns
        assert {batch.parent_id for batch in batches.values()} == {""}
        counts = [len(batch.links) for batch in batches.values()]
        assert counts == [batch.attributes["sentiment.batch.texts"] for batch in batches.values()]
        assert sum(counts) == len(texts)
        return max(counts) > 1  # unless this machine was slower than the slow text

    until(share_a_batch)


def test_a_request_that_fails_is_an_error_in_its_trace(server: Server, collector: Collector) -> None:
    response = server.post({"text": "secret [fail]"})
    (request,) = collector.wait_for(trace_of(response), "POST /predict")
    assert request.is_error
    assert request.attributes["error.type"] == "500"
    assert response.json()["trace_id"] == request.trace_id
    lines = [line for line in server.lines() if line.get("trace_id") == request.trace_id]
    assert [line["event"] for line in lines] == ["prediction failed", "request"]
    (batch,) = collector.wait_for_batches(request.trace_id)
    assert request.links == [batch.place]


def test_a_request_that_is_refused_is_no_error_in_its_trace(server: Server, collector: Collector) -> None:
    response = server.post({"text": "   "})
    (request,) = collector.wait_for(trace_of(response), "POST /predict")
    assert (request.attributes["http.response.status_code"], request.is_error) == (422, False)
    assert response.json()["trace_id"] == request.trace_id


def test_errors_of_other_protocols_keep_their_form(server: Server) -> None:
    assert server.post({"inputs": " "}, "/").json().keys() == {"error"}


def test_a_429_has_a_span(collector: Collector) -> None:
    with serve(backend="mock", tracing="on", rate_limit="1/hour", environment=collector.settings) as limited:
        limited.post({"text": "good"})
        response = limited.post({"text": "good"})
        assert response.status_code == 429
        (request,) = collector.wait_for(trace_of(response), "POST /predict")
        assert request.attributes["http.response.status_code"] == 429
        assert response.json()["trace_id"] == request.trace_id


def test_a_stream_is_one_span_with_links_to_its_batches(server: Server, collector: Collector) -> None:
    lines = "".join(json.dumps({"text": f"line {number}"}) + "\n" for number in range(40)) + "nonsense\n"
    with server.client() as http:
        response = http.post("/predict/stream", content=lines, headers=NDJSON)
    (request,) = collector.wait_for(trace_of(response), "POST /predict/stream")
    assert (request.attributes["sentiment.lines"], request.attributes["sentiment.failed"]) == (41, 1)
    batches = collector.wait_for_batches(request.trace_id)
    assert sorted(request.links) == sorted(batch.place for batch in batches)
    assert sum(batch.attributes["sentiment.batch.texts"] for batch in batches) == 40


def test_probes_and_metrics_have_no_spans(server: Server, collector: Collector) -> None:
    for path in ("/livez", "/readyz", "/healthz", "/metrics", "/v2/health/live", "/v2/health/ready"):
        response = server.get(path, headers={"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01"})
        assert "traceresponse" not in response.headers, path
    collector.wait_for(trace_of(server.get("/info")), "GET /info")  # spans are sent in their order
    assert collector.of_trace("ab" * 16) == []


def test_no_span_has_anything_that_a_client_wrote(server: Server, collector: Collector) -> None:
    traces = []
    with server.client() as http:
        for method, path in (("GET", "/secret/path?secret=query"), ("PURGE", "/predict"), ("POST", "/predict")):
            traces.append(trace_of(http.request(method, path, content=b"secret", headers={"user-agent": "secret"})))
    until(lambda: all(map(collector.of_trace, traces)))
    assert [collector.of_trace(trace)[0].name for trace in traces] == ["GET", "HTTP /predict", "POST /predict"]
    assert "secret" not in str(collector.spans).lower()


def test_an_invalid_traceparent_begins_a_new_trace(server: Server, collector: Collector) -> None:
    for value in ("nonsense", f"00-{'0' * 32}-{CLIENT_SPAN}-01", f"ff-{CLIENT_TRACE}-{CLIENT_SPAN}-01", "\xff"):
        response = server.post({"text": "good"}, headers={"traceparent": value.encode("latin-1")})
        assert response.status_code == 200
        assert trace_of(response) not in {CLIENT_TRACE, "0" * 32}


def test_latency_histograms_have_exemplars(server: Server) -> None:
    trace_id = trace_of(server.post({"text": "for the histogram"}))
    response = server.get("/metrics", headers=OPEN_METRICS)
    assert response.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert response.text.endswith("# EOF\n")
    buckets = re.findall(r'^(\w+)_bucket\{.*\} \S+ # \{trace_id="(\w+)"\} \S+ \S+$', response.text, re.MULTILINE)
    assert {"http_request_duration_seconds", "sentiment_stage_seconds"} <= {name for name, _ in buckets}
    assert ("http_request_duration_seconds", trace_id) in buckets
    plain = server.get("/metrics")
    assert plain.headers["content-type"].startswith("text/plain")
    assert "# {" not in plain.text


def test_a_request_that_is_not_sampled_has_no_spans(collector: Collector) -> None:
    settings = collector.settings | {"OTEL_TRACES_SAMPLER": "always_off"}
    with serve(backend="mock", tracing="on", environment=settings) as unsampled:
        response = unsampled.post({"text": "good"}, headers=CLIENT)
        assert response.headers["traceresponse"].endswith("-00")
        unsampled.wait_for("request", trace_id=CLIENT_TRACE)
        assert "# {" not in unsampled.get("/metrics", headers=OPEN_METRICS).text
    # The server has ended, and would have sent them by now. Others may still send theirs.
    assert not [span for span in collector.spans if span.resource["process.pid"] == unsampled.process.pid]


def test_a_sampler_by_ratio_follows_the_client_and_drops_the_rest(collector: Collector) -> None:
    settings = collector.settings | {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0"}
    with serve(backend="mock", tracing="on", environment=settings) as sampling:
        dropped = sampling.post({"text": "good"})
        assert "traceresponse" not in dropped.headers
        followed = sampling.post({"text": "bad"}, headers={"traceparent": f"00-{'6b' * 16}-{CLIENT_SPAN}-01"})
        collector.wait_for(trace_of(followed), "POST /predict", *STAGES)
    mine = {span.trace_id for span in collector.spans if span.resource["process.pid"] == sampling.process.pid}
    assert trace_of(followed) in mine
    batches = {span.trace_id for span in collector.wait_for_batches(trace_of(followed))}
    assert mine == {trace_of(followed), *batches}


def test_spans_are_sent_before_the_process_ends(collector: Collector) -> None:
    settings = collector.settings | {"OTEL_BSP_SCHEDULE_DELAY": "3600000", "OTEL_SERVICE_NAME": "mine"}
    with serve(backend="mock", tracing="on", environment=settings) as ending:
        trace_id = trace_of(ending.post({"text": "good"}))
        assert collector.of_trace(trace_id) == []
    request, *_ = collector.of_trace(trace_id)
    assert request.resource["service.name"] == "mine"


def test_without_a_collector_requests_are_answered_and_one_line_says_so() -> None:
    port = free_port()
    away = Collector(f"http://127.0.0.1:{port}")
    settings = away.settings | {"OTEL_EXPORTER_OTLP_TIMEOUT": "0.1", "OTEL_BSP_MAX_QUEUE_SIZE": "512"}
    with serve(backend="mock", tracing="on", environment=settings) as alone:
        alone.post({"text": "good"})
        alone.wait_for("traces not sent")
        with alone.client() as http:
            for number in range(200):  # 800 spans, for which there is no room
                assert http.post("/predict", json={"text": f"good {number}"}).status_code == 200
        with collecting(port) as back:
            trace_id = trace_of(alone.post({"text": "seen again"}))
            back.wait_for(trace_id, "POST /predict", *STAGES)
            alone.wait_for("traces sent again")
        alone.terminate()
        assert alone.wait() == 0
        assert len(alone.events("traces not sent")) == 1
        assert {line["event"] for line in alone.lines() if line["level"] != "info"} == {"traces not sent"}


def test_workers_answer_in_the_open_format_without_exemplars(collector: Collector) -> None:
    with serve(backend="mock", tracing="on", workers="2", environment=collector.settings) as running:
        response = running.post({"text": "good"})
        collector.wait_for(trace_of(response), "POST /predict", *STAGES)
        text = running.get("/metrics", headers=OPEN_METRICS).text
    assert 'http_requests_total{handler="/predict",method="POST",status="200"} 1.0' in text
    assert text.endswith("# EOF\n")


@pytest.mark.parametrize("name", ["OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_PROTOCOL"])
def test_a_variable_that_asks_for_another_exporter_is_refused(name: str) -> None:
    from app.errors import SetupError
    from app.tracing import check_variables

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(name, "zipkin")
        with pytest.raises(SetupError, match=f"{name}: 'zipkin' is not possible here"):
            check_variables()


def test_a_job_continues_the_trace_of_its_request(collector: Collector, tmp_path: Any) -> None:
    port = free_port()
    settings = {"redis_url": f"redis://127.0.0.1:{port}", "job_store": str(tmp_path / "store"), "tracing": "on"}
    with (
        redis(port),
        serve(backend="mock", environment=collector.settings, **settings) as running,
        worker(environment=collector.settings, **settings) as working,
    ):
        client = JobsClient(running, **CLIENT | {"traceparent": f"00-{'5a' * 16}-{CLIENT_SPAN}-01"})
        job_id = client.submit({"texts": ["good", "bad"]})
        client.close()
        job = until(lambda: by_name(collector.of_trace("5a" * 16)).get("job inference"))
        request = by_name(collector.of_trace("5a" * 16))["POST /jobs/inference"]
        assert (job.parent_id, job.kind, job.is_error) == (request.span_id, CONSUMER, False)
        assert job.attributes == {
            "sentiment.job": job_id,
            "sentiment.type": "inference",
            "sentiment.attempt": 1,
            "sentiment.status": "completed",
            "sentiment.rows": 2,
        }
        assert working.events("job ended")[0]["trace_id"] == "5a" * 16
        assert "trace" not in running.get(f"/jobs/{job_id}").json()
