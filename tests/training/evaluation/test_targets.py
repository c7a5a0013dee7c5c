"""Real targets: a directory on each backend, a running server; and a server that is busy at the right moments."""

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
from training.data.examples import LABELS
from training.evaluation.targets import local, logits, open_targets

TEXTS = {
    "I love it.": "positive",
    "I hate it.": "negative",
    "It is on the table.": "neutral",
    "An absolute waste of money, " * 30: "negative",
}


class TestDirectories:
    def test_probabilities_are_those_of_the_service_in_the_order_of_the_texts(self, embedded: Model) -> None:
        (target,) = open_targets("sentiment-en", "onnx")
        texts = [*TEXTS] * 9
        found = target.score(texts)
        assert found.sum(axis=1) == pytest.approx(np.ones(len(texts)))
        for text, scores in zip(texts, found, strict=True):
            (alone,) = embedded.runner.run([embedded.tokenizer.encode(text)])
            # In int8 a text's last digits depend on the batch that it is in.
            assert scores == pytest.approx(list(alone.scores.values()), abs=0.05)

    def test_in_batches_of_one_each_text_is_scored_as_a_lone_one_is_served(self, embedded: Model) -> None:
        (target,) = open_targets("sentiment-en", "onnx", batch_size=1)
        for text, scores in zip(TEXTS, target.score([*TEXTS]), strict=True):
            (alone,) = embedded.runner.run([embedded.tokenizer.encode(text)])
            assert scores.tolist() == list(alone.scores.values())

    def test_logits_come_in_the_order_of_the_texts(self, embedded: Model) -> None:
        found = logits(embedded, [*TEXTS])
        assert [LABELS[best] for best in found.argmax(axis=1)] == [*TEXTS.values()]

    def test_a_text_that_the_model_fails_on_ends_it(self) -> None:
        with pytest.raises(BackendError, match="failed on this text"):
            local(load_model("sentiment-en", backend="mock"), "mock").score(["good", "[fail]"])

    def test_what_is_no_model_is_refused(self, tmp_path: Path) -> None:
        for name in ("config.json", "tokenizer.json"):
            (tmp_path / name).write_bytes((open_artifact("sentiment-en").directory / name).read_bytes())
        (tmp_path / "model.onnx").write_bytes(b"no graph")
        with pytest.raises(ValueError, match=r"on onnx fp32: .*cannot load it"):
            open_targets(str(tmp_path))
        with pytest.raises(ValueError, match="nothing for torch; it has onnx"):
            open_targets(str(tmp_path), "torch")


@contextmanager
def stub(
    answers: list[tuple[int, dict[str, str], Any]], keys: list[str | None] | None = None
) -> Iterator[tuple[str, list[Any]]]:
    """A server that gives these answers to POST, one after the other; it keeps what it was asked, and the keys."""
    asked: list[Any] = []
    told = {
        "labels": LABELS,
        "backend": "stub",
        "precision": "none",
        "limits": {"max_text_chars": 5, "max_batch_texts": 2},
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(200, {}, told)

        def do_POST(self) -> None:
            asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
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
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


def predictions(*scores: list[float]) -> dict[str, Any]:
    return {"predictions": [{"scores": dict(zip(LABELS, row, strict=True))} for row in scores]}


class TestServer:
    def test_a_running_server_is_measured_through_its_api(self, server: Server) -> None:
        (target,) = open_targets(server.address + "/")
        assert target.name == f"{server.address} onnx int8"
        assert target.labels == LABELS
        assert [LABELS[best] for best in target.score([*TEXTS]).argmax(axis=1)] == [*TEXTS.values()]

    def test_a_busy_server_is_asked_again_when_it_says_so(self, monkeypatch: pytest.MonkeyPatch) -> None:
        waits: list[float] = []
        monkeypatch.setattr("training.evaluation.targets.time.sleep", waits.append)
        busy, loading = (429, {"Retry-After": "3"}, {"detail": "busy"}), (503, {}, {"detail": "loading"})
        dated = (503, {"Retry-After": "Sun, 22 Nov 2026 12:00:00 GMT"}, {"detail": "a proxy's"})
        good = [(200, {}, predictions([0.1, 0.2, 0.7], [1, 0, 0])), (200, {}, predictions([0, 1, 0]))]
        with stub([busy, loading, dated, *good]) as (address, asked):
            found = open_targets(address)[0].score(["ab", "a much longer text", "abc"])
        assert waits == [3, 1, 1]
        assert asked == [{"texts": ["a muc", "abc"]}] * 4 + [{"texts": ["ab"]}]
        assert found.argmax(axis=1).tolist() == [1, 2, 0]
        assert found.min() > 0

    @pytest.mark.parametrize("key", ["secret", None])
    def test_it_is_shown_the_key_that_the_environment_has(
        self, key: str | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("EVALUATE_API_KEY", key or "")
        keys: list[str | None] = []
        with stub([(200, {}, predictions([1, 0, 0]))], keys) as (address, _):
            open_targets(address)[0].score(["a"])
        assert keys == [key]

    def test_one_that_stays_busy_or_fails_is_given_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("training.evaluation.targets.time.sleep", lambda _: None)
        busy, broken = (429, {"Retry-After": "9999"}, {"detail": "too much"}), (500, {}, "boom")
        with stub([busy, broken]) as (address, _):
            (target,) = open_targets(address)
            with pytest.raises(ValueError, match="answered 429: too much"):
                target.score(["a"])
            with pytest.raises(ValueError, match='answered 500: "boom"'):
                target.score(["a"])

    def test_none_at_all_is_said(self) -> None:
        with pytest.raises(ValueError, match=r"http://127\.0\.0\.1:1/info cannot be reached"):
            open_targets("http://127.0.0.1:1")
