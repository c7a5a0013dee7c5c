"""Streams through a real nginx: passed on while they arrive, in both directions, and without the limits on bodies."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from rt_sentiment_client import AsyncClient

from nginx.process import free_port
from nginx.proxy import Nginx, configure
from tests.support.process import Server, serve
from tests.support.raw_stream import RawStream
from tests.support.waiting import HANG_S


@pytest.fixture(scope="module")
def replica() -> Iterator[Server]:
    with serve(backend="mock", root_path="/api") as server:
        yield server


@pytest.fixture
async def address(tmp_path: Path, replica: Server) -> AsyncIterator[str]:
    """That of nginx in front of a replica."""
    port = free_port()
    configure(tmp_path, "127.0.0.1", port, [int(replica.address.rpartition(":")[2])])
    nginx = await Nginx.start(tmp_path, quiet=True)
    yield f"http://127.0.0.1:{port}"
    await nginx.end()


@pytest.mark.parametrize("prefix", ["", "/api"])
async def test_a_line_is_answered_before_the_next_is_sent(address: str, prefix: str) -> None:
    def check() -> None:
        with RawStream(address + prefix) as stream:
            stream.send({"id": 0, "text": "good"})
            assert stream.head()[0] == 200
            answers = stream.answers()
            assert next(answers)["id"] == 0
            for number in range(1, 20):
                stream.send({"id": number, "text": "good"})
                assert next(answers)["id"] == number
            stream.finish()
            assert list(answers) == []

    await asyncio.to_thread(check)


async def test_a_stream_may_be_larger_than_any_body(address: str) -> None:
    texts = [f"{number} {'very ' * 300}good" for number in range(4000)]  # 6 MB
    async with AsyncClient(address, timeout_s=HANG_S, attempt_timeout_s=HANG_S) as client:
        labels = [result.label async for result in client.stream(texts)]
    assert labels == ["positive"] * 4000


async def test_many_streams_of_one_address_are_let_in(address: str) -> None:
    async def stream(number: int) -> list[str]:
        async with AsyncClient(address, timeout_s=HANG_S, attempt_timeout_s=HANG_S) as client:
            return [result.label async for result in client.stream([f"good {number}"] * 3)]

    assert await asyncio.gather(*map(stream, range(60))) == [["positive"] * 3] * 60


async def test_a_refusal_before_any_line_is_passed_on(address: str) -> None:
    async with httpx.AsyncClient(base_url=address, headers={"content-type": "application/x-ndjson"}) as http:
        response = await http.post("/predict/stream?explain=true", content=b"")
        assert (response.status_code, response.json()["title"]) == (422, "Unprocessable Content")
        assert (await http.get("/predict/stream")).status_code == 405
        assert (await http.post("/predict/stream/", content=b"")).status_code == 404


async def test_a_client_that_leaves_is_noticed_behind_nginx(address: str, replica: Server) -> None:
    def check() -> None:
        with RawStream(address) as stream:
            stream.send({"id": 0, "text": "good"})
            stream.head()
            next(stream.answers())
            assert replica.metric("sentiment_streams") == 1
        replica.wait_for_metric("sentiment_streams", 0)

    await asyncio.to_thread(check)
