"""Clients that are slow or never finish, on a transport without a socket and in virtual time: limits are 1000 s."""

import pytest
from starlette.types import Receive, Scope, Send

from app.api.bodies import Bodies
from app.api.checks import header_limit
from tests.support.connection import GET, POST, Application, connected, pass_time, respond, settle
from tests.support.middleware import Bench as MiddlewareBench
from tests.support.waiting import async_until


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


ONE_BYTE_CHUNKS = b"1\r\n \r\n" * 40_000


async def test_tiny_chunks_after_a_refusal_are_cut_off_at_once() -> None:
    async def refuses(_scope: Scope, _receive: Receive, send: Send) -> None:
        await respond(send, 413)

    async with connected(refuses) as connection:
        connection.receive(POST + b"Transfer-Encoding: chunked\r\n\r\n")
        await connection.responses(413)
        connection.receive(ONE_BYTE_CHUNKS)
        assert connection.transport.was_aborted
        assert connection.protocol._parts.count < 5000
        assert connection.transport.statuses == [413]


async def test_a_body_in_tiny_chunks_is_refused_and_not_parsed_further() -> None:
    app = Application()
    async with connected(app) as connection:
        connection.receive(POST + b"Transfer-Encoding: chunked\r\n\r\n", ONE_BYTE_CHUNKS)
        await connection.responses(413)
        assert connection.problem["detail"] == "the body comes in too many small chunks"
        assert connection.protocol._parts.count < 5000
        assert connection.refused == [413]
    assert (app.left, app.bodies) == (1, [])


@pytest.mark.parametrize(("size", "count"), [(1, 4000), (5, 4000), (40, 30_000)])
async def test_a_body_in_small_chunks_is_put_together(size: int, count: int) -> None:
    """JSON encoders write one chunk a token."""
    app = Application()
    chunk = b"%x\r\n%b\r\n" % (size, b"x" * size)
    async with connected(app) as connection:
        connection.receive(POST + b"Transfer-Encoding: chunked\r\n\r\n", chunk * count, b"0\r\n\r\n")
        await connection.responses(200)
    assert app.bodies == [b"x" * size * count]


async def test_a_refused_body_that_ends_leaves_the_connection_usable() -> None:
    async def refuses(_scope: Scope, _receive: Receive, send: Send) -> None:
        await respond(send, 413)

    async with connected(refuses) as connection:
        connection.receive(POST + b"Content-Length: 10\r\n\r\n12345")
        await connection.responses(413)
        connection.receive(b"67890", GET)
        await connection.responses(413, 413)
        pass_time(1001)
        await settle()
        assert not connection.transport.was_aborted


async def test_a_refused_body_that_does_not_end_is_cut_off() -> None:
    async def refuses(_scope: Scope, _receive: Receive, send: Send) -> None:
        await respond(send, 413)

    async with connected(refuses) as connection:
        connection.receive(POST + b"Content-Length: 10\r\n\r\n12345")
        await connection.responses(413)
        pass_time(1001)
        await async_until(lambda: connection.transport.was_aborted)


async def test_a_response_that_the_client_does_not_read_is_cut_off() -> None:
    async with connected() as connection:
        connection.receive(GET)
        await connection.responses(200)
        connection.protocol.pause_writing()
        pass_time(1001)
        await async_until(lambda: connection.transport.was_aborted)


async def test_a_client_that_reads_in_time_is_not_cut_off() -> None:
    async with connected() as connection:
        connection.receive(GET)
        await connection.responses(200)
        connection.protocol.pause_writing()
        connection.protocol.resume_writing()
        pass_time(1001)
        await settle()
        assert not connection.transport.was_aborted


@pytest.mark.parametrize("sent", [b"GET /" + b"x" * 4096, POST + b"X: " + b"x" * 4096, POST + b"X: y\r\n" * 1000])
async def test_headers_without_end_get_431(sent: bytes) -> None:
    async with connected() as connection:
        connection.receive(*(sent[start : start + 100] for start in range(0, len(sent), 100)))
        await connection.responses(431)
        assert connection.refused == [431]


@pytest.mark.parametrize("sent", [b"P", b"POST /predict HTTP/1.1\r\nHost", POST])
async def test_headers_that_are_late_get_408(sent: bytes) -> None:
    async with connected() as connection:
        connection.receive(sent)
        pass_time(1001)
        await connection.responses(408)
        assert connection.problem["detail"] == "the headers did not arrive in time"


async def test_a_body_that_is_late_gets_408_and_stops_the_request() -> None:
    app = Application()
    async with connected(app) as connection:
        connection.receive(POST + b"Content-Length: 5\r\n\r\nhell")
        await settle()
        pass_time(1001)
        await connection.responses(408)
        assert connection.problem["detail"] == "the body did not arrive in time"
        assert connection.transport.is_closing()
    assert (app.left, app.bodies) == (1, [])


async def test_a_body_that_comes_byte_by_byte_has_no_more_time() -> None:
    app = Application()
    async with connected(app) as connection:
        connection.receive(POST + b"Content-Length: 100\r\n\r\n")
        for _ in range(3):
            await settle()
            pass_time(300)
            connection.receive(b"x")
        await settle()
        assert connection.transport.statuses == []
        pass_time(101)
        await connection.responses(408)
    assert (app.left, app.bodies) == (1, [])


async def test_a_complete_request_may_be_answered_late() -> None:
    app = Application()
    app.open.clear()
    async with connected(app) as connection:
        connection.receive(POST + b"Content-Length: 5\r\n\r\nhel", b"lo")
        pass_time(3000)
        await settle()
        app.open.set()
        await connection.responses(200)


@pytest.mark.parametrize("turn_s", [200, 500, 900, 2500])
async def test_a_pipelined_body_has_its_own_time_from_its_turn_on(turn_s: float) -> None:
    """Its bytes are not read while an earlier request is answered."""
    app = Application()
    app.open.clear()
    async with connected(app) as connection:
        connection.receive(GET + POST + b"Content-Length: 5\r\n\r\nhel")
        assert not connection.transport.reads
        pass_time(turn_s)
        await settle()
        app.open.set()
        await connection.responses(200)
        pass_time(500)  # less than it may take
        await settle()
        assert not connection.transport.is_closing()
        connection.receive(b"lo")
        await connection.responses(200, 200)
    assert app.bodies == [b"", b"hello"]


async def test_an_unused_connection_is_closed_without_a_response() -> None:
    async with connected() as connection:
        connection.receive(b"\r\n")
        pass_time(1001)
        await async_until(connection.transport.is_closing)
        assert connection.transport.written == b""


async def test_a_client_that_leaves_stops_its_request() -> None:
    app = Application()
    async with connected(app) as connection:
        connection.receive(POST + b"Content-Length: 5\r\n\r\nhel")
        await settle()
        connection.protocol.connection_lost(ConnectionResetError())
        await async_until(lambda: app.left == 1)
        assert connection.transport.written == b""


async def test_no_timer_is_left_after_the_connection() -> None:
    """A timer would act on a transport that is closed, and keep the protocol in memory."""
    app = Application()
    app.open.clear()
    async with connected(app) as connection:
        connection.receive(POST + b"Content-Length: 5\r\n\r\nhel")
        connection.protocol.pause_writing()
    assert not connection.protocol._timer.is_running
    assert not connection.protocol._write_timer.is_running


async def test_a_request_whose_body_is_late_is_counted_once() -> None:
    async def reads(_scope: Scope, receive: Receive, _send: Send) -> None:
        with Bodies(10**6).hold() as body:
            await body.read(receive, 100, lambda: None)  # type: ignore[arg-type,return-value]

    bench = MiddlewareBench(reads)
    async with connected(bench.middleware) as connection:
        connection.receive(POST + b"Content-Length: 5\r\n\r\nhell")
        await settle()
        pass_time(1001)
        await connection.responses(408)
        await settle()
        assert connection.refused == [408]
        assert bench.recorder.answers == []


@pytest.mark.parametrize("part", [100, 100_000])
async def test_a_url_over_the_limit_is_refused_in_any_number_of_parts(part: int) -> None:
    bench = MiddlewareBench(checks=[header_limit(2048)])
    async with connected(bench.middleware) as connection:
        request = b"GET /" + b"x" * 5000 + b" HTTP/1.1\r\nHost: a\r\n\r\n"
        connection.receive(*(request[start : start + part] for start in range(0, len(request), part)))
        await connection.responses(431)
