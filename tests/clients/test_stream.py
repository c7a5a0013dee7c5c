"""`stream`: results while texts are sent, and connections that break."""

import asyncio
import contextlib
import itertools
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from rt_sentiment_client import (
    AsyncClient,
    Client,
    DeadlineExceeded,
    InvalidRequest,
    InvalidText,
    Overloaded,
    SentimentError,
    ServerError,
    TextTooLong,
    Unauthorized,
    Unavailable,
    UnexpectedResponse,
)

from tests.support.both_clients import EITHER, Connect
from tests.support.process import ROOT
from tests.support.scripted import Reply, disconnect, problem, respond, scripted
from tests.support.scripted_stream import buffered_stream, echo_line, frozen_stream, stream
from tests.support.waiting import async_until

TEXTS = [f"text {number}" for number in range(600)]


def labels(results: list[Any]) -> list[str]:
    return [result.label for result in results]


@EITHER
async def test_a_stream_is_one_request_with_options_and_headers(connect: Connect) -> None:
    async with (
        scripted(stream()) as server,
        connect(f"{server.address}/prefix", api_key="rts_key") as client,
    ):
        results = await client.stream(TEXTS, top_k=2, truncate=False, long_text="window", request_id="id-1")
    assert labels(results) == TEXTS
    assert {result.model for result in results} == {"m@1"}
    (request,) = server.requests
    assert request.method == "POST"
    assert request.path == "/prefix/predict/stream?top_k=2&long_text=window&truncate=false"
    assert request.headers["content-type"] == "application/x-ndjson"
    assert (request.headers["x-api-key"], request.headers["x-request-id"]) == ("rts_key", "id-1")


@EITHER
async def test_no_texts_need_no_connection(connect: Connect) -> None:
    async with scripted(stream()) as server, connect(server.address) as client:
        assert await client.stream([]) == []
    assert server.connections == 0


@EITHER
@pytest.mark.parametrize("fault", [problem(503), problem(429), disconnect, stream(ends_after=0)])
async def test_a_stream_that_cannot_begin_is_tried_again(connect: Connect, fault: Reply) -> None:
    async with scripted(fault, fault, stream()) as server, connect(server.address) as client:
        assert labels(await client.stream(TEXTS)) == TEXTS
    assert len(server.requests) == 3


@EITHER
@pytest.mark.parametrize("fault", [stream(breaks_after=100), stream(ends_after=100)])
async def test_a_new_connection_continues_where_the_old_one_ended(connect: Connect, fault: Reply) -> None:
    async with scripted(fault, fault, stream()) as server, connect(server.address) as client:
        assert labels(await client.stream(TEXTS)) == TEXTS
    assert len(server.requests) == 3


@EITHER
async def test_progress_counts_not_the_number_of_broken_connections(connect: Connect) -> None:
    async with scripted(stream(breaks_after=30)) as server, connect(server.address, max_attempts=4) as client:
        assert labels(await client.stream(TEXTS[:200])) == TEXTS[:200]
    assert len(server.requests) >= 7


@EITHER
@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (problem(401), Unauthorized),
        (problem(404), InvalidRequest),
        (problem(500), ServerError),
        (problem(429, retry_after="3600"), Overloaded),
        (respond(301, b"", location="https://example.com"), UnexpectedResponse),
        (respond(200, b"<html>a portal</html>"), UnexpectedResponse),
        (stream(lambda line: echo_line(line) | {"id": 5}), UnexpectedResponse),
        (stream(lambda line: {"id": line["id"], "error": "no"}), UnexpectedResponse),
        (stream(lambda line: echo_line(line) | {"label": "x" * 2_000_000}), UnexpectedResponse),
    ],
)
async def test_what_ends_a_stream_is_raised(connect: Connect, reply: Reply, kind: type[SentimentError]) -> None:
    async with scripted(reply) as server, connect(server.address) as client:
        with pytest.raises(kind):
            await client.stream(TEXTS, on_error="return")
    assert len(server.requests) == 1


@EITHER
async def test_a_line_that_fails_has_its_error_in_its_place(connect: Connect) -> None:
    def fail(line: dict[str, Any]) -> dict[str, Any]:
        failed = {"id": line["id"], "error": {"status": 422, "detail": "no"}}
        return failed if line["text"] == TEXTS[3] else echo_line(line)

    async with scripted(stream(fail)) as server, connect(server.address) as client:
        results = await client.stream(TEXTS, on_error="return")
        with pytest.raises(InvalidText) as raised:
            await client.stream(TEXTS)
    assert (type(results[3]), results[3].index, raised.value.index) == (InvalidText, 3, 3)
    assert labels(results[:3] + results[4:]) == TEXTS[:3] + TEXTS[4:]


@EITHER
async def test_an_error_without_the_id_of_its_line_is_that_of_the_next_text(connect: Connect) -> None:
    """The server cannot read the id of a line that is too long."""

    def fail(line: dict[str, Any]) -> dict[str, Any]:
        failed = {"id": None, "error": {"status": 413, "detail": "the line is larger than 100 bytes"}}
        return failed if line["id"] == 3 else echo_line(line)

    async with scripted(stream(fail)) as server, connect(server.address) as client:
        results = await client.stream(TEXTS[:6], on_error="return")
    assert (type(results[3]), results[3].index) == (TextTooLong, 3)
    assert labels(results[:3] + results[4:]) == TEXTS[:3] + TEXTS[4:6]


@EITHER
async def test_a_server_that_ends_the_stream_for_now_is_asked_again(connect: Connect) -> None:
    ended = set()

    def end_once(line: dict[str, Any]) -> dict[str, Any]:
        if line["id"] % 40 or line["id"] in ended:
            return echo_line(line)
        ended.add(line["id"])
        return {"error": {"status": 503, "detail": "the server is shutting down"}}

    async with scripted(stream(end_once)) as server, connect(server.address) as client:
        assert labels(await client.stream(TEXTS[:100])) == TEXTS[:100]
    assert len(server.requests) > 1


@EITHER
async def test_a_server_that_ends_the_stream_for_good_is_not_asked_again(connect: Connect) -> None:
    end = {"error": {"status": 403, "detail": "the API key is no longer valid"}}
    reply = stream(lambda line: echo_line(line) if line["id"] < 9 else end)
    async with scripted(reply) as server, connect(server.address) as client:
        with pytest.raises(Unauthorized, match="no longer valid"):
            await client.stream(TEXTS, on_error="return")
    assert len(server.requests) == 1


async def test_long_texts_are_fewer_at_a_time() -> None:
    read = itertools.count()
    texts = (f"{next(read):0100000d}" for _ in itertools.repeat(None))
    async with scripted(frozen_stream) as server, AsyncClient(server.address) as client:
        running = asyncio.ensure_future(anext(client.stream(texts)))
        await async_until(lambda: server.requests)
        for _ in range(20):
            await asyncio.sleep(0.01)
        assert next(read) <= 7
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@EITHER
async def test_a_line_that_fails_for_now_is_sent_again(connect: Connect) -> None:
    refused = set()

    def refuse_once(line: dict[str, Any]) -> dict[str, Any]:
        if line["id"] % 50 or line["id"] in refused:
            return echo_line(line)
        refused.add(line["id"])
        return {"id": line["id"], "error": {"status": 429, "detail": "the queue is full"}}

    async with scripted(stream(refuse_once)) as server, connect(server.address) as client:
        assert labels(await client.stream(TEXTS[:200])) == TEXTS[:200]
    assert refused == {0, 50, 100, 150}


@EITHER
async def test_refused_lines_do_not_use_up_each_others_attempts(connect: Connect) -> None:
    refused = set()

    def refuse_once(line: dict[str, Any]) -> dict[str, Any]:
        if line["id"] in refused:
            return echo_line(line)
        refused.add(line["id"])
        return {"id": line["id"], "error": {"status": 503, "detail": "draining"}}

    async with scripted(stream(refuse_once)) as server, connect(server.address, max_attempts=2) as client:
        assert labels(await client.stream(TEXTS[:50])) == TEXTS[:50]


@EITHER
async def test_a_line_that_always_fails_for_now_has_that_error(connect: Connect) -> None:
    def refuse(line: dict[str, Any]) -> dict[str, Any]:
        return {"id": line["id"], "error": {"status": 429, "detail": "no"}} if line["id"] == 1 else echo_line(line)

    async with scripted(stream(refuse)) as server, connect(server.address, max_attempts=1) as client:
        results = await client.stream(TEXTS[:3], on_error="return")
    assert [type(result) for result in results[1:2]] == [Overloaded]
    assert labels([results[0], results[2]]) == [TEXTS[0], TEXTS[2]]


@EITHER
async def test_a_proxy_that_waits_for_the_whole_request_gets_it(connect: Connect) -> None:
    async with (
        scripted(buffered_stream) as server,
        connect(server.address, attempt_timeout_s=0.4) as client,
    ):
        assert labels(await client.stream(TEXTS)) == TEXTS
    assert len(server.requests) > 1


@EITHER
async def test_a_server_that_never_answers_ends_the_stream(connect: Connect) -> None:
    async with (
        scripted(frozen_stream) as server,
        connect(server.address, timeout_s=0.5, attempt_timeout_s=0.2) as client,
    ):
        with pytest.raises(DeadlineExceeded):
            await client.stream(TEXTS)


@EITHER
async def test_a_server_that_froze_is_left_for_another_connection(connect: Connect) -> None:
    async with scripted(frozen_stream, stream()) as server, connect(server.address, attempt_timeout_s=0.2) as client:
        assert labels(await client.stream(TEXTS)) == TEXTS


@EITHER
async def test_without_a_server_a_stream_is_unavailable(connect: Connect) -> None:
    async with scripted(stream()) as server:
        address = server.address
    async with connect(address, max_attempts=2) as client:
        with pytest.raises(Unavailable) as raised:
            await client.stream(TEXTS)
    assert raised.value.attempts == 2


@EITHER
async def test_an_error_of_the_texts_comes_after_all_results(connect: Connect) -> None:
    def failing() -> Iterator[str]:
        yield from TEXTS[:10]
        raise OSError("the disk is gone")

    async with scripted(stream()) as server, connect(server.address) as client:
        with pytest.raises(OSError, match="the disk is gone"):
            await client.stream(failing())
        with pytest.raises(TypeError, match="iterable of texts"):
            await client.stream("text")
        with pytest.raises(ValueError, match="on_error"):
            await client.stream(TEXTS, on_error="ignore")


async def test_a_result_comes_before_the_next_text_in_a_loop() -> None:
    received = asyncio.Event()

    async def texts() -> AsyncIterator[str]:
        for text in TEXTS[:5]:
            yield text
            await received.wait()
            received.clear()

    async with scripted(stream()) as server, AsyncClient(server.address) as client:
        results = []
        async for result in client.stream(texts()):
            results.append(result)
            received.set()
    assert labels(results) == TEXTS[:5]


async def test_a_result_comes_before_the_next_text_in_threads() -> None:
    received = threading.Semaphore(0)

    def texts() -> Iterator[str]:
        for text in TEXTS[:5]:
            yield text
            received.acquire()

    def run(client: Client) -> list[str]:
        results = []
        for result in client.stream(texts()):
            results.append(result)
            received.release()
        return labels(results)

    async with scripted(stream()) as server:
        with Client(server.address) as client:
            assert await asyncio.to_thread(run, client) == TEXTS[:5]


@EITHER
async def test_an_endless_stream_reads_only_as_far_as_needed(connect: Connect) -> None:
    read = itertools.count()
    texts = (f"text {next(read)}" for _ in itertools.repeat(None))
    async with scripted(stream()) as server, connect(server.address) as client:
        results = []
        if isinstance(client.client, AsyncClient):
            async with contextlib.aclosing(client.client.stream(texts)) as running:
                async for result in running:
                    results.append(result)
                    if len(results) == 1000:
                        break
        else:
            results = await asyncio.to_thread(lambda: [*itertools.islice(client.client.stream(texts), 1000)])
        assert labels(results) == [f"text {number}" for number in range(1000)]
        await async_until(lambda: not any("client-stream" in thread.name for thread in threading.enumerate()))
    assert next(read) <= 1000 + 2 * 256 + 20


async def test_a_stream_that_is_not_read_stops_the_texts() -> None:
    read = itertools.count()
    texts = (f"text {next(read)}" for _ in itertools.repeat(None))
    async with scripted(stream()) as server, AsyncClient(server.address) as client:
        running = client.stream(texts)
        await anext(running)
        for _ in range(20):
            await asyncio.sleep(0.01)
        assert next(read) <= 2 * 256 + 1
        await running.aclose()


async def test_python_ends_although_a_stream_is_not_finished() -> None:
    program = """
import itertools, sys
sys.path.insert(0, "clients/python")
from rt_sentiment_client import Client
client = Client(sys.argv[1])
results = client.stream(f"text {number}" for number in itertools.count())
print(next(results).label)
"""
    async with scripted(stream()) as server:
        command = [sys.executable, "-c", program, server.address]
        done = await asyncio.to_thread(subprocess.run, command, cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert (done.stdout, done.stderr, done.returncode) == ("text 0\n", "", 0)


async def test_a_stream_that_is_cancelled_while_it_ends_closes_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    writers: list[asyncio.StreamWriter] = []
    is_ending = asyncio.Event()
    connect = asyncio.open_connection

    async def open_connection(*args: Any, **options: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await connect(*args, **options)
        writers.append(writer)
        return reader, writer

    async def send_slowly(*_: Any) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            is_ending.set()
            await asyncio.Event().wait()

    monkeypatch.setattr(asyncio, "open_connection", open_connection)
    monkeypatch.setattr("rt_sentiment_client.stream.Stream._send", send_slowly)
    async with scripted(problem(422)) as server, AsyncClient(server.address) as client:
        reading = asyncio.create_task(anext(client.stream(TEXTS)))
        await is_ending.wait()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert all(writer.transport.is_closing() for writer in writers)
