"""A response that begins before the end of its request, on a transport without a socket and in virtual time."""

import asyncio

import pytest
from starlette.types import Receive, Scope, Send

from app.api import BROKEN, BUSY
from app.server.connections import Connections
from tests.support.connection import GET, POST, Application, connected, pass_time, settle
from tests.support.waiting import async_until

CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


class Echo:
    """Sends back each part of a body as it comes."""

    def __init__(self) -> None:
        self.scope: Scope = {}
        self.parts: list[bytes] = []
        self.left = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        await send({"type": "http.response.start", "status": 200, "headers": []})
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.left = True
                return
            self.parts.append(message["body"])
            more = message["more_body"]
            await send({"type": "http.response.body", "body": message["body"], "more_body": more})


async def test_a_stream_has_no_limit_on_the_time_for_its_whole_body() -> None:
    async with connected(app := Echo()) as connection:
        connection.receive(CHUNKED)
        for _ in range(3):
            await settle()
            pass_time(1001)
            connection.receive(b"5\r\nhello\r\n")
        await settle()
        assert not connection.transport.is_closing()
        connection.receive(b"0\r\n\r\n")
        await async_until(lambda: connection.transport.written.endswith(b"0\r\n\r\n"))
        assert b"".join(app.parts) == b"hello" * 3
        connection.receive(GET)
        await connection.responses(200, 200)


@pytest.mark.parametrize(("chunk", "count", "passes"), [(b"\n", 20_000, False), (b"12345", 20_000, True)])
async def test_a_stream_may_come_in_one_chunk_per_token(chunk: bytes, count: int, passes: bool) -> None:
    async with connected(app := Echo()) as connection:
        connection.receive(CHUNKED)
        await settle()
        connection.receive(b"%x\r\n%b\r\n" % (len(chunk), chunk) * count + b"0\r\n\r\n")
        await async_until(lambda: connection.transport.written.endswith(b"0\r\n\r\n"))
        assert (b"".join(app.parts) == chunk * count) is passes
        assert connection.transport.is_closing() is not passes
        expected = None if passes else (413, "the body comes in too many small chunks")
        assert app.scope["state"].get(BROKEN) == expected


async def test_a_stream_whose_http_breaks_ends_with_what_came_before() -> None:
    async with connected(app := Echo()) as connection:
        connection.receive(CHUNKED)
        await settle()
        connection.receive(b"5\r\nhello\r\nbroken")
        await async_until(connection.transport.is_closing)
        assert app.parts == [b"hello"]
        assert app.scope["state"][BROKEN][0] == 400
        assert connection.transport.statuses == [200]


async def test_a_stream_that_is_not_read_has_its_own_time() -> None:
    async with connected(Echo(), header_timeout_s=100) as connection:
        connection.receive(CHUNKED)
        await settle()
        connection.protocol.pause_writing()
        pass_time(101)
        await settle()
        assert not connection.transport.was_aborted
        pass_time(1001)
        await async_until(lambda: connection.transport.was_aborted)


async def test_a_client_that_leaves_ends_its_stream() -> None:
    async with connected(app := Echo()) as connection:
        connection.receive(CHUNKED)
        await settle()
        connection.protocol.connection_lost(ConnectionResetError())
        await async_until(lambda: app.left)


@pytest.mark.parametrize("busy", [True, False])
async def test_only_a_stream_that_waits_is_closed_for_a_new_connection(busy: bool) -> None:
    connections = Connections(2)
    async with (
        connected(app := Echo(), connections=connections) as stream,
        connected(Application(), connections=connections) as other,
    ):
        stream.receive(CHUNKED)
        await settle()
        app.scope["state"][BUSY](busy)
        if not busy:
            other.receive(GET)  # it waits for its client after the stream does
            await asyncio.sleep(0)
            await other.responses(200)
        async with connected(Application(), connections=connections):
            await settle()
            assert stream.transport.is_closing() is not busy
            assert other.transport.is_closing() is busy
