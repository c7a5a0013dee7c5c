"""Targets: a directory on each backend, a running server, and a stub server that is busy or fails."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.errors import BackendError
from app.inference.artifact import open_artifact
from app.inference.model import Model, load_model
from tests.support.process import Server
from training.data import LABELS
from training.evaluation.targets import local, logits, open_targets

TEXTS = {
    "I love it.": "positive",
    "I hate it.": "negative",
    "It is on the table.": "neutral",
    "An absolute waste of money, " * 30: "negative",
}


class TestDirectories:
    def test_probabilities_are_those_of_the_service_in_text_order(self, embedded: Model) -> None:
        (target,) = open_targets("sentiment-en", "onnx")
        texts = [*TEXTS] * 9
        probabilities = target.score(texts)
        assert probabilities.sum(axis=1) == pytest.approx(np.ones(len(texts)))
        for text, scores in zip(texts, probabilities, strict=True):
            (alone,) = embedded.runner.run([embedded.tokenizer.encode(text)])
            assert scores.tolist() == pytest.approx(list(alone.scores.values()), abs=1e-6)

    def test_logits_come_in_the_order_of_the_texts(self, embedded: Model) -> None:
        values = logits(embedded, [*TEXTS])
        assert [LABELS[best] for best in values.argmax(axis=1)] == [*TEXTS.values()]

    def test_a_text_that_the_model_fails_on_raises(self) -> None:
        with pytest.raises(BackendError, match="failed on this text"):
            local(load_model("sentiment-en", backend="mock"), "mock").score(["good", "[fail]"])

    def test_a_directory_without_a_usable_model_is_rejected(self, tmp_path: Path) -> None:
        for name in ("config.json", "tokenizer.json"):
            (tmp_path / name).write_bytes((open_artifact("sentiment-en").directory / name).read_bytes())
        (tmp_path / "model.onnx").write_bytes(b"no graph")
        with pytest.raises(ValueError, match=r"on onnx fp32: .*cannot load it"):
            open_targets(str(tmp_path))
        with pytest.raises(ValueError, match="no file for torch; the model has onnx"):
            open_targets(str(tmp_path), "torch")


@contextmanager
def stub(
    answers: list[tuple[int, dict[str, str], Any]], keys: list[str | None] | None = None
) -> Iterator[tuple[str, list[Any]]]:
    """A server that returns `answers` to POST requests in order. It records the bodies, and the API keys in `keys`."""
    bodies: list[Any] = []
    info = {
        "labels": LABELS,
        "backend": "stub",
        "precision": "none",
        "limits": {"max_text_chars": 5, "max_batch_texts": 2},
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(200, {}, info)

        def do_POST(self) -> None:
            bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            if keys is not None:
                keys.append(self.headers["X-API-Key"])
            self.answer(*answers.pop(0))

        def answer(self, status: int, headers: dict[str, str], content: Any) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            for name, value in (headers | {"Content-Length": str(len(body))}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", bodies
        finally:
            server.shutdown()
            thread.join()


def predictions(*scores: list[float]) -> dict[str, Any]:
    return {"predictions": [{"scores": dict(zip(LABELS, row, strict=True))} for row in scores]}


class TestServer:
    def test_a_running_server_is_scored_through_its_api(self, server: Server) -> None:
        (target,) = open_targets(server.address + "/")
        assert target.name == f"{server.address} onnx int8"
        assert target.labels == LABELS
        assert [LABELS[best] for best in target.score([*TEXTS]).argmax(axis=1)] == [*TEXTS.values()]

    def test_a_busy_server_is_retried_when_it_says_so(self, monkeypatch: pytest.MonkeyPatch) -> None:
        waits: list[float] = []
        monkeypatch.setattr("training.evaluation.targets.time.sleep", waits.append)
        busy, loading = (429, {"Retry-After": "3"}, {"detail": "busy"}), (503, {}, {"detail": "loading"})
        dated = (503, {"Retry-After": "Sun, 22 Nov 2026 12:00:00 GMT"}, {"detail": "a proxy's"})
        good = [(200, {}, predictions([0.1, 0.2, 0.7], [1, 0, 0])), (200, {}, predictions([0, 1, 0]))]
        with stub([busy, loading, dated, *good]) as (address, bodies):
            scores = open_targets(address)[0].score(["ab", "a much longer text", "abc"])
        assert waits == [3, 1, 1]
        assert bodies == [{"texts": ["a muc", "abc"]}] * 4 + [{"texts": ["ab"]}]
        assert scores.argmax(axis=1).tolist() == [1, 2, 0]
        assert scores.min() > 0

    @pytest.mark.parametrize("key", ["secret", None])
    def test_the_api_key_comes_from_the_environment(self, key: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("EVALUATE_API_KEY", key or "")
        keys: list[str | None] = []
        with stub([(200, {}, predictions([1, 0, 0]))], keys) as (address, _):
            open_targets(address)[0].score(["a"])
        assert keys == [key]

    def test_a_server_that_stays_busy_or_fails_raises(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("training.evaluation.targets.time.sleep", lambda _: None)
        busy, broken = (429, {"Retry-After": "9999"}, {"detail": "too much"}), (500, {}, "boom")
        with stub([busy, broken]) as (address, _):
            (target,) = open_targets(address)
            with pytest.raises(ValueError, match="returned status 429: too much"):
                target.score(["a"])
            with pytest.raises(ValueError, match='returned status 500: "boom"'):
                target.score(["a"])

    def test_a_server_that_is_not_there_raises(self) -> None:
        with pytest.raises(ValueError, match=r"http://127\.0\.0\.1:1/info cannot be reached"):
            open_targets("http://127.0.0.1:1")
