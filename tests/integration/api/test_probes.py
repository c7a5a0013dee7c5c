"""The probes, /info, /metrics and the API documentation."""

import re

import pytest

from app import __version__
from app.inference.artifact import open_artifact
from tests.support.gate import Gate
from tests.support.process import PATIENT, Server, serve


def test_all_probes_of_a_ready_server_are_ok(server: Server) -> None:
    with server.client() as http:
        assert http.get("/livez").json() == {"status": "ok"}
        assert http.get("/readyz").json() == {"status": "ok", "reason": ""}
        health = http.get("/healthz")
    assert health.status_code == 200
    body = health.json()
    assert body.pop("uptime_s") > 0
    assert body == {
        "status": "ok",
        "reason": "",
        "backend": "onnx",
        "device": "cpu",
        "model": "sentiment-en",
        "version": __version__,
        "queue_depth": 0,
        "golden": {"texts": 48, "agreeing": 48, "agreement": 1.0},
    }


def test_info_names_model_limits_and_build(server: Server) -> None:
    with server.client() as http:
        info = http.get("/info").json()
    assert info["labels"] == ["negative", "neutral", "positive"]
    assert info["max_tokens"] == 512
    assert info["temperature"] == open_artifact("sentiment-en").temperature
    assert info["precision"] == "int8"
    assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", info[name]) for name in ("checksum", "manifest"))
    assert info["limits"] == {
        "max_text_chars": 10_000,
        "max_batch_texts": 256,
        "max_body_bytes": 4_194_304,
        "request_timeout_ms": float(PATIENT["request_timeout_ms"]),
        "max_upload_bytes": None,
    }
    assert info["build"]["version"] == __version__


def test_only_liveness_is_ok_while_the_model_loads(gate: Gate) -> None:
    with serve(backend="mock", wait="listening", prelude=gate.before_loading) as server, server.client() as http:
        assert http.get("/livez").status_code == 200
        ready = http.get("/readyz")
        assert ready.status_code == 503
        assert ready.json()["detail"] == "the model is loading"
        assert int(ready.headers["retry-after"]) >= 1
        health = http.get("/healthz")
        assert (health.status_code, health.json()["status"]) == (503, "loading")
        assert (health.json()["backend"], health.json()["golden"]) == (None, None)
        assert http.get("/info").status_code == 503
        assert "sentiment_ready 0.0" in http.get("/metrics").text
        refused = http.post("/predict", json={"text": "good"})
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) >= 1
        gate.open()
        server.wait_for("ready")
        assert http.get("/readyz").status_code == 200
        assert server.metric("sentiment_ready") == 1
        assert http.post("/predict", json={"text": "good"}).json()["label"] == "positive"


def test_metrics_count_texts_and_requests() -> None:
    with serve(backend="mock", slots="3") as server, server.client() as http:
        for text in ("good", "good", "bad", "word " * 600):
            http.post("/predict", json={"text": text})
        http.post("/predict", json={"text": "word " * 600, "long_text": "window"})  # two windows
        http.post("/predict", json={"text": "[fail]"})
        http.post("/predict", content=b"{", headers={"content-type": "application/json"})
        http.get("/nothing")
        version = http.get("/info").json()["model_version"]
        of_model = f'model="mock",model_version="{version}"'
        expected = {
            'sentiment_cache_total{outcome="hit"}': 1,
            'sentiment_cache_total{outcome="miss"}': 5,
            f'sentiment_predictions_total{{label="positive",{of_model}}}': 2,
            f'sentiment_predictions_total{{label="negative",{of_model}}}': 1,
            f"sentiment_confidence_count{{{of_model}}}": 5,  # also for the hit, not for the failure
            f"sentiment_truncated_total{{{of_model}}}": 1,
            "sentiment_windowed_total": 1,
            f"sentiment_backend_errors_total{{{of_model}}}": 1,
            "sentiment_ready": 1,
            "sentiment_slots": 3,
            "sentiment_queue_texts": 0,
            'http_requests_total{handler="/predict",method="POST",status="200"}': 5,
            'http_requests_total{handler="/predict",method="POST",status="400"}': 1,
            'http_requests_total{handler="/predict",method="POST",status="500"}': 1,
            'http_requests_total{handler="none",method="GET",status="404"}': 1,
            'sentiment_stage_seconds_count{stage="infer"}': 6,
        }
        assert {name: server.metric(name) for name in expected} == expected
        assert 'sentiment_model_info{backend="mock"' in http.get("/metrics").text


def test_refusals_are_counted(gate: Gate) -> None:
    with serve(backend="mock", max_queue_texts="256", slots="1", prelude=gate.before_runs) as server:
        running = server.post_in_background({"text": "good"})
        server.wait_for_misses(1)
        texts = [f"text {index}" for index in range(256)]
        waiting = server.post_in_background({"texts": texts}, "/predict/batch")
        server.wait_for_metric("sentiment_queue_texts", 256)
        refused = server.post({"text": "one more"})
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.json()["title"] == "Overloaded"
        gate.open()
        assert running.response().status_code == 200
        assert waiting.response().status_code == 200
        assert server.metric('sentiment_refused_total{reason="full"}') == 1


class TestDocumentation:
    def test_the_documentation_loads_nothing_from_other_hosts(self, server: Server) -> None:
        with server.client() as http:
            page = http.get("/docs").text
            assert re.findall(r"https?://[^\"'\s]+", page) == []
            linked = re.findall(r"""(?:src=|href=|url: )["'](\S+?)["']""", page)
            assert len(linked) == 4
            for path in linked:
                assert http.get(path).status_code == 200, path

    @pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
    def test_the_openapi_document_describes_the_whole_contract(self, server: Server, path: str) -> None:
        with server.client() as http:
            document = http.get("/openapi.json").json()
            operation = document["paths"][path]["post"]
            statuses = "200 400 401 403 404 408 413 415 422 429 431 500 503 504 505"
            assert set(operation["responses"]) == set(statuses.split())
            headers = {"X-Request-ID", "X-Model", "X-Cache", "X-Depth", "Server-Timing"}
            assert set(operation["responses"]["200"]["headers"]) == headers
            assert "Retry-After" in operation["responses"]["429"]["headers"]
            assert {parameter["name"] for parameter in operation["parameters"]} == {
                "X-Request-Timeout-Ms",
                "X-Request-ID",
            }
            reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
            schema = document["components"]["schemas"][reference.rsplit("/", 1)[1]]
            example = schema["examples"][0]
            answer = http.post(path, json=example)
            assert answer.status_code == 200

    def test_every_reference_in_the_openapi_document_resolves(self, server: Server) -> None:
        with server.client() as http:
            text = http.get("/openapi.json").text
            schemas = http.get("/openapi.json").json()["components"]["schemas"]
        for name in re.findall(r'"#/components/schemas/(\w+)"', text):
            assert name in schemas


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/healthz", "/info", "/metrics", "/", "/docs", "/openapi.json"])
def test_head_responds_like_get_without_a_body(server: Server, path: str) -> None:
    with server.client() as http:
        with_body, without = http.get(path), http.head(path)
    assert (without.status_code, without.content) == (with_body.status_code, b"")
    assert without.headers.get("content-type") == with_body.headers.get("content-type")
