"""A server process as a whole: start, concurrent requests, clients that leave, a model that hangs."""

import asyncio
import json
import random
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from nginx.process import free_port
from tests.support.gate import Gate
from tests.support.process import ROOT, Server, clean_environment, serve
from tests.support.waiting import HANG_S, until

NO_TORCH = "import sys\nsys.modules['torch'] = sys.modules['transformers'] = None\n"


def test_serving_works_without_torch_and_transformers() -> None:
    with serve(prelude=NO_TORCH, fresh=True) as server:
        assert server.post({"text": "I love it"}).json()["label"] == "positive"
        (chosen,) = server.events("backend chosen")
        assert (chosen["backend"], chosen["device"]) == ("onnx", "cpu")


def test_the_log_has_the_address_when_the_server_is_ready(server: Server) -> None:
    (ready,) = server.events("ready")
    assert ready["address"] == server.address
    assert ready["seconds"] > 0


def test_a_missing_model_ends_the_process_with_the_reason() -> None:
    with pytest.raises(AssertionError, match=r"ended with 1[\s\S]*no such model: nowhere"), serve(model="nowhere"):
        pass


def test_a_hanging_model_fails_its_requests_and_ends_the_process() -> None:
    with serve(backend="mock", backend_timeout_ms="10000", slots="1") as server:
        hanging = server.post_in_background({"text": "[hang]"})
        server.wait_for_misses(1)
        waiting = server.post_in_background({"text": "good"})
        assert hanging.response().status_code == 500
        assert waiting.response().status_code == 500
        assert server.wait() == 1
        assert server.events("broken")[0]["reason"] == "the model stopped answering"


def test_the_model_does_not_run_for_a_client_that_has_left(gate: Gate) -> None:
    with serve(backend="mock", slots="1", prelude=gate.before_runs) as server:
        request = server.post_in_background({"text": "good"})
        server.wait_for_misses(1)
        body = json.dumps({"text": "good but the client leaves"}).encode()
        head = "POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        head += f"content-length: {len(body)}\r\n\r\n"
        with server.connect() as connection:
            connection.sendall(head.encode() + body)
            server.wait_for_metric("sentiment_queue_texts", 1)
        server.wait_for_metric("sentiment_queue_texts", 0)
        gate.open()
        assert request.response().status_code == 200
        assert server.metric("sentiment_batch_texts_count") == 1
        assert [line["status"] for line in server.events("request") if line["path"] == "/predict"] == [499, 200]


async def test_200_concurrent_requests_each_get_their_own_response(server: Server) -> None:
    rng = random.Random(3)
    words = {"wonderful": "positive", "dreadful": "negative"}
    texts = [f"Review {number}: what a {rng.choice(list(words))} {'long ' * (number % 30)}day." for number in range(40)]
    async with httpx.AsyncClient(base_url=server.address, timeout=HANG_S) as http:
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
            assert task.cancelled() or task.result().status_code == 200  # the response may have come first
            return "cancelled"

        kinds = [good, batch, malformed, oversized, cancelled]
        outcomes = await asyncio.gather(*(kinds[number % 5](number) for number in range(200)))
        assert sorted(outcomes) == sorted(kind.__name__ for kind in kinds for _ in range(40))
        for text in texts:  # afterwards, each text alone has the same label
            alone = (await http.post("/predict", json={"text": text})).json()
            assert alone["label"] == next(label for word, label in words.items() if word in text)
        health = (await http.get("/healthz")).json()
        assert (health["status"], health["queue_depth"]) == ("ok", 0)


def test_forty_requests_with_one_text_run_the_model_once(gate: Gate) -> None:
    with serve(backend="mock", prelude=gate.before_runs) as server:
        before = server.metric("sentiment_batch_texts_sum")
        requests = [server.post_in_background({"text": "the same good text"}) for _ in range(40)]
        server.wait_for_metric('sentiment_cache_total{outcome="joined"}', 39)
        gate.open()
        responses = [request.response() for request in requests]
        assert {response.json()["label"] for response in responses} == {"positive"}
        assert server.metric("sentiment_batch_texts_sum") - before == 1
        assert {"miss", "joined"} == {response.headers["x-cache"] for response in responses}


def test_the_host_can_be_an_ipv6_address() -> None:
    if not socket.has_ipv6 or not Path("/proc/net/if_inet6").exists():
        pytest.skip("this machine has no IPv6")
    with serve("--host", "::1", backend="mock") as server:
        assert server.address.startswith("http://[::1]:")
        assert server.get("/livez").status_code == 200


def test_make_dev_serves_the_mock_and_restarts_when_a_file_changes(tmp_path: Path) -> None:
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
        until(lambda: log.read_text().count(f'"event":"{event}"') >= times, on_timeout=log.read_text)

    def touch_and_check() -> bool:
        (ROOT / "app" / "config.py").touch()
        return "stopped" in log.read_text()

    try:
        wait_for("ready", 1)
        assert '"backend":"mock"' in log.read_text()
        # watchfiles begins to watch some time after it has started the server.
        until(touch_and_check, interval_s=1, on_timeout=log.read_text)
        wait_for("ready", 2)
    finally:
        process.terminate()
        process.wait(HANG_S)
    wait_for("stopped", 2)


def test_the_application_works_on_stock_uvicorn() -> None:
    """`uvicorn app.main:create_app --factory`, without our protocol class and process."""
    address = f"http://127.0.0.1:{(port := free_port())}"
    command = [sys.executable, "-m", "uvicorn", "app.main:create_app", "--factory", "--port", str(port)]

    def is_ready() -> bool:
        try:
            return httpx.get(f"{address}/readyz").status_code == 200
        except httpx.HTTPError:
            return False

    with subprocess.Popen(
        command, cwd=ROOT, env=clean_environment(backend="mock"), stderr=subprocess.DEVNULL
    ) as process:
        try:
            until(is_ready)
            response = httpx.post(f"{address}/predict", json={"text": "good"}, timeout=HANG_S)
            assert response.json()["label"] == "positive"
            assert response.headers["x-cache"] == "miss"
        finally:
            process.terminate()
            process.wait(HANG_S)
