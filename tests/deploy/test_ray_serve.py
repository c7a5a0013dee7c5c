"""The service in a real Ray Serve on this machine: replicas come and go with the load, and no request is lost."""

import asyncio
import contextlib
import json
import os
import signal
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import httpx
import pytest

from nginx.process import free_port
from tests.support.ray import Command, needs_ray, running
from tests.support.waiting import HANG_S, async_until, until

pytestmark = needs_ray

_MODELS = """
models:
  first: {versions: [{path: one}]}
  second: {versions: [{path: two}]}
"""


class Service:
    """The command of `make ray` and its addresses."""

    def __init__(self, command: Command, port: int, metrics_port: int) -> None:
        self.command = command
        self.address = f"http://127.0.0.1:{port}"
        self.metrics = f"http://127.0.0.1:{metrics_port}/metrics"

    def replicas(self) -> list[int]:
        return self.command.processes("ServeReplica")

    def post(self, body: object, path: str = "/predict") -> httpx.Response:
        return httpx.post(f"{self.address}{path}", json=body, timeout=HANG_S)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("ray")
    models = folder / "models.yml"
    models.write_text(_MODELS)
    port, metrics_port = free_port(), free_port()
    flags = ["--target-ongoing-requests", "2", "--upscale-delay-s", "0", "--downscale-delay-s", "1"]
    flags += ["--look-back-period-s", "11", "--metrics-port", str(metrics_port)]
    # The mock's delay keeps requests waiting, which is what replicas are added for, without work for the processor.
    settings = {"models_file": str(models), "backend": "mock", "mock_delay_ms": "200", "cache_entries": "0"}
    with running("deploy.ray.serve", *flags, log=folder / "log", port=str(port), **settings) as command:
        command.wait_for_line("ray: ready")
        yield Service(command, port, metrics_port)


def test_a_replica_serves_each_model_of_the_models_file(service: Service) -> None:
    for name in ("first", "second"):

        def answer(name: str = name) -> httpx.Response | None:
            response = service.post({"text": "good", "model": name})
            assert response.status_code in {200, 503}, response.text  # only the first is loaded when it is ready
            return response if response.status_code == 200 else None

        response = until(answer)
        assert response.json()["label"] == "positive"
        assert response.headers["x-model"].startswith(f"{name}@")
    assert service.post({"text": "good", "model": "third"}).status_code == 404


def test_a_response_has_one_request_id_the_one_that_was_sent(service: Service) -> None:
    response = httpx.post(
        f"{service.address}/predict", json={"text": "good"}, headers={"X-Request-ID": "mine"}, timeout=HANG_S
    )
    assert response.headers.get_list("x-request-id") == ["mine"]


def test_the_answers_of_a_stream_begin_before_its_request_ends(service: Service) -> None:
    host, port = service.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=HANG_S) as connection:
        head = "POST /predict/stream HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-ndjson\r\n"
        connection.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        received = b""
        for text, label in (("good", b'"label":"positive"'), ("bad", b'"label":"negative"')):
            line = json.dumps({"text": text}) + "\n"
            connection.sendall(f"{len(line):x}\r\n{line}\r\n".encode())
            while label not in received:
                data = connection.recv(65536)
                assert data, received
                received += data
        connection.sendall(b"0\r\n\r\n")


def test_the_metrics_of_each_replica_are_at_the_endpoint_of_ray(service: Service) -> None:
    service.post({"text": "good"})

    def exported() -> bool:
        lines = httpx.get(service.metrics, timeout=HANG_S).text.splitlines()
        counted = [line for line in lines if line.startswith("ray_http_requests_total{") and '"/predict"' in line]
        return bool(counted) and all('replica="' in line for line in counted)

    until(exported, interval_s=0.5)


async def test_replicas_come_and_go_with_the_load_and_lose_nothing(service: Service) -> None:
    outcomes: Counter[str] = Counter()
    connections = 16

    async def send(number: int, client: httpx.AsyncClient) -> None:
        order = 0
        while number < connections:
            order += 1
            response = await client.post("/predict", json={"text": f"good {number} {order}"})
            is_right = response.status_code == 200 and response.json()["label"] == "positive"
            outcomes["right" if is_right else f"{response.status_code} {response.text}"] += 1
            await asyncio.sleep(0 if connections > 1 else 0.1)

    async with httpx.AsyncClient(base_url=service.address, timeout=HANG_S) as client:
        tasks = [asyncio.create_task(send(number, client)) for number in range(connections)]
        assert len(service.replicas()) == 1
        await async_until(lambda: _settled(service, 2))
        before = outcomes["right"]
        await async_until(lambda: outcomes["right"] > before + 100)
        connections = 1
        await async_until(lambda: _settled(service, 1))
        before = outcomes["right"]
        await async_until(lambda: outcomes["right"] > before + 10)
        connections = 0
        await asyncio.gather(*tasks)
    print(outcomes)
    assert outcomes.keys() == {"right"}


async def _settled(service: Service, replicas: int) -> bool:
    await asyncio.sleep(0.2)  # between two looks at all processes
    return len(service.replicas()) == replicas


def test_a_replica_that_is_killed_is_replaced(service: Service) -> None:
    (victim,) = service.replicas()
    os.kill(victim, signal.SIGKILL)

    def answers() -> bool:
        with contextlib.suppress(httpx.HTTPError):
            return victim not in service.replicas() and service.post({"text": "good"}).status_code == 200
        return False

    until(answers, interval_s=0.2, on_timeout=service.command.log.read_text)


def test_ctrl_c_answers_what_is_running_and_ends_everything(service: Service) -> None:  # the last one
    statuses: list[int] = []
    request = Thread(target=lambda: statuses.append(service.post({"text": "good [slow] order"}).status_code))
    before = _requests(service)
    request.start()
    until(lambda: _requests(service) > before)
    children = [Path(f"/proc/{pid}") for pid in service.command.processes("")]
    service.command.interrupt()
    assert service.command.process.wait(HANG_S) == 0, service.command.log.read_text()
    request.join(HANG_S)
    assert statuses == [200]
    assert "ray: stopped" in service.command.log.read_text()
    until(lambda: not any(child.exists() for child in children))


def _requests(service: Service) -> float:
    """How many texts the only replica has passed to the model, or to its queue."""
    text = httpx.get(f"{service.address}/metrics", timeout=HANG_S).text
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith("sentiment_cache_total"))
