"""The limits on slow and broken clients, on a transport without a socket."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn import Config
from uvicorn.server import ServerState

from app.server.protocol import LimitedProtocol
from tests.support.waiting import async_until

GET = b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /predict HTTP/1.1\r\nHost: a\r\n"


class Transport(asyncio.Transport):
    """Keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.was_aborted = False
        self.reads = True
        self._is_closing = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": ("192.0.2.1", 1234), "sockname": ("192.0.2.2", 80)}.get(name, default)

    def write(self, data: Any) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self._is_closing

    def close(self) -> None:
        self._is_closing = True

    def abort(self) -> None:
        self.was_aborted = True
        self.close()

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True

    @property
    def statuses(self) -> list[int]:
        return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+) ", self.written)]


class Application:
    """An ASGI application that reads each body and answers 200, once `open` is set."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []
        self.bodies: list[bytes] = []
        self.left = 0
        self.open = asyncio.Event()
        self.open.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.left += 1
                return
            body += message["body"]
            more = message["more_body"]
        self.bodies.append(body)
        await self.open.wait()
        await respond(send)


async def respond(send: Send, status: int = 200) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"{}"})


class Connection:
    """A connection of `LimitedProtocol` to an application."""

    def __init__(self, app: ASGIApp, header_timeout_s: float, body_timeout_s: float) -> None:
        self.transport = Transport()
        self.refused: list[int] = []
        config = Config(app, log_config=None, ws="none", lifespan="off", interface="asgi3")
        self.protocol = LimitedProtocol(
            config=config,
            server_state=ServerState(),
            app_state={},
            header_timeout_s=header_timeout_s,
            body_timeout_s=body_timeout_s,
            max_header_bytes=2048,
            on_unreadable=self.refused.append,
        )
        self.protocol.connection_made(self.transport)

    def receive(self, *parts: bytes) -> None:
        for data in parts:
            if not self.transport.is_closing():  # as asyncio does
                self.protocol.data_received(data)

    async def responses(self, *statuses: int) -> None:
        """Wait for responses with these statuses, and check that no other response is sent."""
        await async_until(lambda: len(self.transport.statuses) >= len(statuses), 5)
        await settle()
        assert self.transport.statuses == [*statuses]

    @property
    def problem(self) -> Any:
        return json.loads(self.transport.written.rpartition(b"\r\n\r\n")[2])


async def settle() -> None:
    """Let all tasks run that are ready, and those that they wake up."""
    for _ in range(20):
        await asyncio.sleep(0)


@asynccontextmanager
async def connected(
    app: ASGIApp | None = None, *, header_timeout_s: float = 30, body_timeout_s: float = 30
) -> AsyncIterator[Connection]:
    failures: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: failures.append(context))
    connection = Connection(app or Application(), header_timeout_s, body_timeout_s)
    yield connection
    connection.protocol.connection_lost(None)
    await settle()
    assert failures == []


async def test_requests_are_answered_whatever_parts_they_arrive_in() -> None:
    app = Application()
    request = POST + b"Content-Length: 5\r\n\r\nhello"
    async with connected(app) as connection:
        connection.receive(*(bytes([byte]) for byte in request), request + request[:30], request[30:])
        await connection.responses(200, 200, 200)
    assert app.bodies == [b"hello"] * 3


async def test_the_101st_pipelined_request_ends_the_connection() -> None:
    app = Application()
    app.open.clear()
    async with connected(app) as connection:
        connection.receive(GET * 102)
        await settle()
        assert len(app.scopes) == 1
        app.open.set()
        await connection.responses(*[200] * 101)  # one was being answered and 100 waited
        assert connection.transport.is_closing()
    assert len(app.scopes) == 101


async def test_trailers_are_not_added_to_the_headers() -> None:
    app = Application()
    async with connected(app) as connection:
        connection.receive(POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-API-Key: late\r\n\r\n" + GET)
        await connection.responses(200, 200)
    assert app.bodies == [b"hi", b""]
    assert [dict(scope["headers"]).get(b"x-api-key") for scope in app.scopes] == [None, None]


async def test_trailers_without_end_are_refused() -> None:
    app = Application()
    async with connected(app) as connection:
        connection.receive(POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n", *[b"X: y\r\n"] * 1000)
        await connection.responses(431)
        assert connection.transport.is_closing()
        assert connection.refused == [431]
    assert app.left == 1


@pytest.mark.parametrize("size", [16 * 1024 * 1024, 16 * 1024 * 1024 + 1])
async def test_a_refused_body_of_over_16_mib_is_cut_off(size: int) -> None:
    async def refuses(_scope: Scope, _receive: Receive, send: Send) -> None:
        await respond(send, 413)

    async with connected(refuses) as connection:
        connection.receive(POST + b"Content-Length: 1000000000\r\n\r\n")
        await connection.responses(413)
        part = b" " * 2**18
        connection.receive(*[part] * (size // len(part)), b" " * (size % len(part)))
        assert connection.transport.was_aborted == (size > 16 * 1024 * 1024)


async def test_a_refused_body_that_ends_leaves_the_connection_usable() -> None:
    async def refuses(_scope: Scope, _receive: Receive, send: Send) -> None:
        await respond(send, 413)

    async with connected(refuses, header_timeout_s=0.05) as connection:
        connection.receive(POST + b"Content-Length: 10\r\n\r\n12345")
        await connection.responses(413)
        connection.receive(b"67890", GET)
        await connection.responses(413, 413)
        await asyncio.sleep(0.1)
        assert not connection.transport.was_aborted


async def test_a_refused_body_that_does_not_end_is_cut_off() -> None:
    async def refuses(_scope: Scope, _receive: Receive, send: Send) -> None:
        await respond(send, 413)

    async with connected(refuses, header_timeout_s=0.05) as connection:
        connection.receive(POST + b"Content-Length: 10\r\n\r\n12345")
        await connection.responses(413)
        await async_until(lambda: connection.transport.was_aborted, 5)


async def test_a_response_that_the_client_does_not_read_is_cut_off() -> None:
    async with connected(header_timeout_s=0.05) as connection:
        connection.receive(GET)
        await connection.responses(200)
        connection.protocol.pause_writing()
        await async_until(lambda: connection.transport.was_aborted, 5)


async def test_a_client_that_reads_in_time_is_not_cut_off() -> None:
    async with connected(header_timeout_s=0.05) as connection:
        connection.receive(GET)
        await connection.responses(200)
        connection.protocol.pause_writing()
        connection.protocol.resume_writing()
        await asyncio.sleep(0.1)
        assert not connection.transport.was_aborted


@pytest.mark.parametrize(("connection_header", "closes"), [(b"Upgrade", False), (b"close, Upgrade", True)])
@pytest.mark.parametrize("pieces", [1, 2, 1000])
async def test_upgrade_is_ignored_with_a_body_and_with_close(
    connection_header: bytes, closes: bool, pieces: int
) -> None:
    app = Application()
    head = b"Upgrade: h2c\r\nConnection: " + connection_header + b"\r\nHTTP2-Settings: AAM\r\nX-A: b\r\n"
    request = POST + head + b"Content-Length: 5\r\n\r\nhello"
    size = -(-len(request) // pieces)
    async with connected(app) as connection:
        connection.receive(*(request[start : start + size] for start in range(0, len(request), size)))
        await connection.responses(200)
        assert connection.transport.is_closing() == closes
        assert (b"connection: close" in connection.transport.written) == closes
        if not closes:
            connection.receive(request + GET)
            await connection.responses(200, 200, 200)
    assert set(app.bodies) <= {b"hello", b""}
    headers = dict(app.scopes[0]["headers"])
    assert headers[b"x-a"] == b"b"
    assert b"upgrade" not in headers


async def test_many_pipelined_upgrades_are_bounded_like_other_requests() -> None:
    app = Application()
    app.open.clear()
    request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    async with connected(app) as connection:
        connection.receive(request * 1000)
        app.open.set()
        await connection.responses(*[200] * 101)
        assert connection.transport.is_closing()


async def test_a_broken_chunk_stops_the_request_and_is_answered() -> None:
    app = Application()
    async with connected(app) as connection:
        connection.receive(POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        await settle()
        connection.receive(b"broken\r\n")
        await connection.responses(400)
        assert connection.problem["detail"] == "this is not valid HTTP/1.1 (RFC 9112)"
        assert connection.transport.is_closing()
        assert connection.refused == [400]
    assert (app.left, app.bodies) == (1, [])


async def test_broken_http_behind_a_request_closes_after_its_response() -> None:
    app = Application()
    app.open.clear()
    async with connected(app) as connection:
        connection.receive(GET + b"broken\r\n\r\n")
        await settle()
        assert connection.transport.statuses == []
        app.open.set()
        await connection.responses(200)
        assert connection.transport.is_closing()


@pytest.mark.parametrize("sent", [b"\x16\x03\x01\x02", b"hello\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"])
async def test_data_that_is_not_http_gets_400_and_reaches_no_application(sent: bytes) -> None:
    app = Application()
    async with connected(app) as connection:
        connection.receive(sent)
        await connection.responses(400)
        assert connection.transport.is_closing()
    assert app.scopes == []


@pytest.mark.parametrize("sent", [b"GET /" + b"x" * 4096, POST + b"X: " + b"x" * 4096, POST + b"X: y\r\n" * 1000])
async def test_headers_without_end_get_431(sent: bytes) -> None:
    async with connected() as connection:
        connection.receive(*(sent[start : start + 100] for start in range(0, len(sent), 100)))
        await connection.responses(431)
        assert connection.refused == [431]


@pytest.mark.parametrize("sent", [b"P", b"POST /predict HTTP/1.1\r\nHost", POST])
async def test_headers_that_are_late_get_408(sent: bytes) -> None:
    async with connected(header_timeout_s=0.02) as connection:
        connection.receive(sent)
        await connection.responses(408)
        assert connection.problem["detail"] == "the headers did not arrive in time"


async def test_a_body_that_is_late_gets_408_and_stops_the_request() -> None:
    app = Application()
    async with connected(app, body_timeout_s=0.02) as connection:
        connection.receive(POST + b"Content-Length: 5\r\n\r\nhell")
        await connection.responses(408)
        assert connection.problem["detail"] == "the body did not arrive in time"
        assert connection.transport.is_closing()
    assert (app.left, app.bodies) == (1, [])


async def test_a_complete_request_may_be_answered_late() -> None:
    app = Application()
    app.open.clear()
    async with connected(app, header_timeout_s=0.02, body_timeout_s=0.02) as connection:
        connection.receive(POST + b"Content-Length: 5\r\n\r\nhel", b"lo")
        await asyncio.sleep(0.06)
        app.open.set()
        await connection.responses(200)


@pytest.mark.parametrize("turn_s", [0.02, 0.05, 0.09])
async def test_a_pipelined_body_has_its_own_time_from_its_turn_on(turn_s: float) -> None:
    """Its bytes are not read while an earlier request is answered."""
    app = Application()
    app.open.clear()
    async with connected(app, body_timeout_s=0.1) as connection:
        connection.receive(GET + POST + b"Content-Length: 5\r\n\r\nhel")
        assert not connection.transport.reads
        await asyncio.sleep(turn_s)
        app.open.set()
        await connection.responses(200)
        await asyncio.sleep(0.06)  # less than it may take
        assert not connection.transport.is_closing()
        connection.receive(b"lo")
        await connection.responses(200, 200)
    assert app.bodies == [b"", b"hello"]


async def test_an_unused_connection_is_closed_without_a_response() -> None:
    async with connected(header_timeout_s=0.02) as connection:
        connection.receive(b"\r\n")
        await async_until(connection.transport.is_closing, 5)
        assert connection.transport.written == b""


async def test_a_client_that_leaves_stops_its_request() -> None:
    app = Application()
    async with connected(app) as connection:
        connection.receive(POST + b"Content-Length: 5\r\n\r\nhel")
        await settle()
        connection.protocol.connection_lost(ConnectionResetError())
        await async_until(lambda: app.left == 1, 5)
        assert connection.transport.written == b""


async def test_no_timer_is_left_after_the_connection() -> None:
    """A timer would act on a transport that is closed, and keep the protocol in memory."""
    app = Application()
    app.open.clear()
    async with connected(app, header_timeout_s=0.02, body_timeout_s=0.02) as connection:
        connection.receive(POST + b"Content-Length: 5\r\n\r\nhel")
        connection.protocol.pause_writing()
    assert connection.protocol._read_timer is None
    assert connection.protocol._write_timer is None


async def test_a_long_response_is_not_held_in_memory() -> None:
    """Writes are joined within a step of the event loop, which an application need not end between chunks."""
    written: list[int] = []

    async def streams(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(100):
            await send({"type": "http.response.body", "body": b"x" * 10_000, "more_body": True})
            written.append(len(connection.transport.written))
        await send({"type": "http.response.body"})

    async with connected(streams) as connection:
        connection.receive(GET)
        await connection.responses(200)
        assert written[-1] > 500_000


@pytest.mark.parametrize("path", [b"/predict", b"/predict/batch", b"/livez", b"/metrics", b"/docs", b"/missing", b"*"])
@pytest.mark.parametrize("method", [b"GET", b"POST", b"OPTIONS", b"PROPFIND"])
async def test_every_request_reaches_the_application_once(path: bytes, method: bytes) -> None:
    """The protocol answers no request itself."""
    app = Application()
    async with connected(app) as connection:
        connection.receive(method + b" " + path + b" HTTP/1.1\r\nOrigin: a\r\nContent-Length: 0\r\n\r\n")
        await settle()
        await connection.responses(200)
    assert len(app.scopes) == 1


FRAGMENTS = [
    GET,
    POST + b"Content-Length: 5\r\n\r\nhello",
    POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    POST + b"Connection: close\r\nContent-Length: 0\r\n\r\n",
    POST + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 5\r\n\r\nhello",
    POST + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    POST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n",
    b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
    b"\r\n",
    b"0\r\n\r\n",
    b"X: y\r\n",
    b" " * 3000,
    b"\x00\xff",
]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(FRAGMENTS), min_size=1, max_size=8), st.lists(st.integers(1, 80), max_size=8))
def test_any_sequence_of_bytes_is_answered_or_refused_once(fragments: list[bytes], cuts: list[int]) -> None:
    async def play() -> None:
        app = Application()
        async with connected(app) as connection:
            data = b"".join(fragments)
            for cut in cuts:
                connection.receive(data[:cut])
                data = data[cut:]
                await asyncio.sleep(0)
            connection.receive(data)
            await settle()
            answers = [status for status in connection.transport.statuses if status != 100]
            refused = [status for status in answers if status != 200]
            assert answers[: len(answers) - len(refused)] == [200] * len(app.bodies)
            assert refused == connection.refused
            assert len(refused) <= 1
            assert not refused or connection.transport.is_closing()

    asyncio.run(play())
