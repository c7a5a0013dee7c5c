"""The process as a whole: start, concurrency, disconnects, drain, a model that hangs."""

import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from nginx.process import free_port
from tests.support.process import ROOT, Server, serve


def post(server: Server, path: str, body: object, **options: object) -> httpx.Response:
    return httpx.post(f"{server.address}{path}", json=body, timeout=30, **options)  # type: ignore[arg-type]


class Later:
    """A request in a thread of its own."""

    def __init__(self, server: Server, text: str) -> None:
        self.response: httpx.Response | None = None
        self.error: Exception | None = None
        self._thread = threading.Thread(target=self._run, args=(server, text))
        self._thread.start()

    def _run(self, server: Server, text: str) -> None:
        try:
            self.response = post(server, "/predict", {"text": text})
        except httpx.HTTPError as error:
            self.error = error

    def result(self) -> httpx.Response:
        self._thread.join(30)
        assert self.response is not None, self.error
        return self.response


NO_TORCH = "import sys\nsys.modules['torch'] = sys.modules['transformers'] = None\n"


def test_serving_works_without_torch_and_transformers() -> None:
    with serve(prelude=NO_TORCH) as server:
        assert post(server, "/predict", {"text": "I love it"}).json()["label"] == "positive"
        (chosen,) = server.events("backend chosen")
        assert (chosen["backend"], chosen["device"]) == ("onnx", "cpu")


def test_it_prints_one_line_with_its_address_when_it_is_ready(server: Server) -> None:
    (ready,) = server.events("ready")
    assert ready["address"] == server.address
    assert ready["seconds"] > 0


def test_a_broken_model_ends_the_process_with_a_reason() -> None:
    with pytest.raises(AssertionError, match=r"ended with 1[\s\S]*no such model: nowhere"), serve(model="nowhere"):
        pass


class TestDrain:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
    def test_requests_in_flight_are_answered_and_the_exit_status_is_0(self, number: signal.Signals) -> None:
        with serve(backend="mock") as server:
            slow = Later(server, "good [slow]")
            time.sleep(0.3)
            server.process.send_signal(number)
            assert slow.result().json()["label"] == "positive"
            assert server.wait() == 0
            assert server.events("draining")[0]["in_flight"] == 1

    def test_new_requests_get_503_meanwhile(self) -> None:
        with serve(backend="mock", drain_delay_ms="800") as server, server.client() as http:
            assert http.get("/readyz").status_code == 200
            server.terminate()
            server.wait_for("draining")
            ready = http.get("/readyz")
            assert ready.status_code == 503
            assert ready.json()["detail"] == "the server is shutting down"
            assert "sentiment_ready 0.0" in httpx.get(f"{server.address}/metrics").text
            refused = post(server, "/predict", {"text": "good"})
            assert refused.status_code == 503
            assert int(refused.headers["retry-after"]) >= 1
            assert refused.headers["connection"] == "close"
            assert post(server, "/predict", {"text": "good"}).status_code == 503
            assert httpx.get(f"{server.address}/healthz").json()["status"] == "draining"
            assert httpx.get(f"{server.address}/livez").status_code == 200
            assert server.wait() == 0

    def test_a_request_that_takes_longer_than_the_grace_is_given_up(self) -> None:
        with serve(backend="mock", drain_timeout_ms="100", mock_delay_ms="5000") as server:
            slow = Later(server, "good")
            time.sleep(0.3)
            begun = time.monotonic()
            server.terminate()
            assert slow.result().status_code == 503
            assert server.wait(10) == 0
            assert time.monotonic() - begun < 4
            assert server.events("drain timed out")

    def test_a_body_that_never_comes_gets_a_503_too(self) -> None:
        with serve(backend="mock") as server:
            host, port = server.address.removeprefix("http://").split(":")
            head = "POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 50\r\n\r\n{"
            with socket.create_connection((host, int(port)), timeout=10) as connection:
                connection.sendall(head.encode())
                time.sleep(0.2)
                server.terminate()
                answer = connection.recv(4096).decode()
            assert answer.startswith("HTTP/1.1 503")
            assert "application/problem+json" in answer
            assert server.wait(8) == 0
            assert server.events("stopped")
            assert {line["level"] for line in server.lines()} <= {"info", "warning", "error"}
            assert "trace" not in str(server.lines())

    @pytest.mark.parametrize("signals", [1, 2])
    def test_a_model_that_hangs_does_not_keep_the_process(self, signals: int) -> None:
        with serve(backend="mock", drain_timeout_ms="300") as server:
            hanging = Later(server, "[hang]")
            time.sleep(0.3)
            for _ in range(signals):
                server.terminate()
                time.sleep(0.1)
            server.wait(8)
            hanging._thread.join(10)

    def test_neither_does_a_model_that_is_still_loading(self) -> None:
        prelude = "import time, app.main\napp.main.load_model = lambda *_, **__: time.sleep(60)"
        with serve(wait="listening", prelude=prelude) as server:
            server.terminate()
            assert server.wait(8) == 0

    def test_a_second_signal_ends_it_at_once(self) -> None:
        with serve(backend="mock", drain_delay_ms="20000") as server:
            server.terminate()
            server.wait_for("draining")
            time.sleep(0.6)  # what comes sooner is the same wish
            server.terminate()
            server.wait_for("ending at once")
            begun = time.monotonic()
            server.wait(10)
            assert time.monotonic() - begun < 5

    @pytest.mark.parametrize("again", [signal.SIGTERM, signal.SIGHUP])
    @pytest.mark.parametrize("workers", ["1", "2"])
    def test_a_signal_that_comes_twice_at_once_is_one(self, again: signal.Signals, workers: str) -> None:
        with serve(backend="mock", mock_delay_ms="700", workers=workers) as server:
            asked = Later(server, "good")
            time.sleep(0.3)
            server.terminate()
            server.process.send_signal(again)
            assert asked.result().status_code == 200
            assert server.wait() == 0

    def test_ctrl_c_is_a_drain_too(self) -> None:
        with serve(backend="mock") as server:
            server.process.send_signal(signal.SIGINT)
            assert server.wait() == 0


def test_a_model_that_hangs_is_noticed_answered_for_and_ends_the_process() -> None:
    with serve(backend="mock", backend_timeout_ms="500", slots="1") as server:
        hanging, waiting = Later(server, "[hang]"), None
        time.sleep(0.2)
        waiting = Later(server, "good")
        assert hanging.result().status_code == 500
        assert waiting.result().status_code == 500
        assert server.wait() == 1
        assert server.events("broken")[0]["reason"] == "the model stopped answering"


def test_a_client_that_leaves_costs_no_inference() -> None:
    with serve(backend="mock", slots="1") as server:
        slow = Later(server, "[slow]")
        time.sleep(0.2)
        host, port = server.address.removeprefix("http://").split(":")
        body = json.dumps({"text": "good but nobody waits"}).encode()
        head = "POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        head += f"content-length: {len(body)}\r\n\r\n"
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(head.encode() + body)
            deadline = time.monotonic() + 0.5
            while not server.metric("sentiment_queue_texts") and time.monotonic() < deadline:
                time.sleep(0.02)
            assert server.metric("sentiment_queue_texts") == 1
        time.sleep(0.1)
        assert server.metric("sentiment_queue_texts") == 0
        assert slow.result().status_code == 200
        assert server.metric("sentiment_batch_texts_count") == 1
        assert [line["status"] for line in server.events("request") if line["path"] == "/predict"] == [499, 200]


async def test_200_mixed_requests_at_once_each_get_exactly_their_own_answer(server: Server) -> None:
    rng = random.Random(3)
    words = {"wonderful": "positive", "dreadful": "negative"}
    alone: dict[str, dict[str, object]] = {}
    texts = [f"Review {number}: what a {rng.choice(list(words))} {'long ' * (number % 30)}day." for number in range(40)]
    async with httpx.AsyncClient(base_url=server.address, timeout=60) as http:
        headers = {"content-type": "application/json"}

        async def good(number: int) -> str:
            text = texts[number % 40]
            body = (await http.post("/predict", json={"text": text})).json()
            assert body["label"] == next(label for word, label in words.items() if word in text)
            return "good"

        async def batch(number: int) -> str:
            chosen = [texts[(number + step) % 40] for step in range(5)]
            predictions = (await http.post("/predict/batch", json={"texts": chosen})).json()["predictions"]
            expected = [next(label for word, label in words.items() if word in text) for text in chosen]
            assert [prediction["label"] for prediction in predictions] == expected
            return "batch"

        async def malformed(number: int) -> str:
            content = [b"{", b'{"text": 3}', b'{"texts": ["a", ""]}', b"\xff"][number % 4]
            path = "/predict/batch" if b"texts" in content else "/predict"
            response = await http.post(path, content=content, headers=headers)
            assert response.status_code in (400, 422)
            return "malformed"

        async def oversized(number: int) -> str:
            body = {"texts": ["x"] * 300} if number % 2 else {"texts": ["x" * 20_000]}
            assert (await http.post("/predict/batch", json=body)).status_code == 413
            return "oversized"

        async def cancelled(number: int) -> str:
            task = asyncio.create_task(http.post("/predict", json={"text": texts[number % 40] + f" {number}"}))
            await asyncio.sleep(rng.random() * 0.02)
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled() or task.result().status_code == 200  # it may have been answered already
            return "cancelled"

        kinds = [good, batch, malformed, oversized, cancelled]
        outcomes = await asyncio.gather(*(kinds[number % 5](number) for number in range(200)))
        assert sorted(outcomes) == sorted(kind.__name__ for kind in kinds for _ in range(40))
        for text in texts:  # and each has its own answer still, within what int8 lets batch-mates change
            alone[text] = (await http.post("/predict", json={"text": text})).json()
            assert alone[text]["label"] == next(label for word, label in words.items() if word in text)
        health = (await http.get("/healthz")).json()
        assert (health["status"], health["queue_depth"]) == ("ok", 0)


def test_forty_callers_of_one_text_cost_one_computation() -> None:
    with serve(backend="mock", mock_delay_ms="300") as server:
        before = server.metric("sentiment_batch_texts_sum")
        callers = [Later(server, "the same good text") for _ in range(40)]
        answers = [caller.result() for caller in callers]
        assert {answer.json()["label"] for answer in answers} == {"positive"}
        assert server.metric("sentiment_batch_texts_sum") - before == 1
        assert {"miss", "joined"} <= {answer.headers["x-cache"] for answer in answers}


def test_an_ipv6_address_will_do() -> None:
    if not socket.has_ipv6 or not Path("/proc/net/if_inet6").exists():
        pytest.skip("no IPv6 here")
    with serve("--host", "::1", backend="mock") as server:
        assert server.address.startswith("http://[::1]:")
        assert httpx.get(f"{server.address}/livez").status_code == 200


def test_make_dev_serves_the_mock_and_starts_again_when_a_file_changes(tmp_path: Path) -> None:
    recipe = subprocess.run(
        ["make", "--no-print-directory", "--dry-run", "--old-file", ".venv/serve.stamp", "dev",
         "ARGS=--port 0 --log-format json",
         f"BIN={Path(sys.executable).parent}"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    log = tmp_path / "log"
    with log.open("wb") as stream:
        process = subprocess.Popen(["sh", "-c", recipe], cwd=ROOT, stdout=stream, stderr=stream)

    def wait_for(event: str, times: int) -> None:
        deadline = time.monotonic() + 30
        while log.read_text().count(f'"event":"{event}"') < times:
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)

    try:
        wait_for("ready", 1)
        assert '"backend":"mock"' in log.read_text()
        deadline = time.monotonic() + 30
        while "stopped" not in log.read_text():  # it begins to watch at some moment after it has started the command
            assert time.monotonic() < deadline, log.read_text()
            (ROOT / "app" / "config.py").touch()
            time.sleep(1)
        wait_for("ready", 2)
    finally:
        process.terminate()
        process.wait(30)
    wait_for("stopped", 2)


def test_the_application_works_on_stock_uvicorn() -> None:
    """`uvicorn app.main:create_app --factory`, without our protocol class and process."""
    environment = {**os.environ, "SENTIMENT_BACKEND": "mock"}
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "app.main:create_app", "--factory", "--port", str(port)]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 30
            while time.monotonic() < deadline:
                with contextlib.suppress(httpx.HTTPError):
                    if httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200:
                        break
                time.sleep(0.05)
            response = httpx.post(f"http://127.0.0.1:{port}/predict", json={"text": "good"})
            assert response.json()["label"] == "positive"
            assert response.headers["x-cache"] == "miss"
        finally:
            process.terminate()
            process.wait(10)
