"""HTTP as clients send it, on a transport without a socket: pipelined, upgraded, broken or in pieces."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send

from tests.support.connection import GET, POST, Application, connected, settle


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
        assert connection.problem["detail"] == "the request is not valid HTTP/1.1 (RFC 9112)"
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


@pytest.mark.parametrize("path", [b"/predict", b"/predict/batch", b"/livez", b"/metrics", b"/docs", b"/missing"])
@pytest.mark.parametrize("method", [b"GET", b"POST", b"OPTIONS", b"PROPFIND"])
async def test_every_request_reaches_the_application_once(path: bytes, method: bytes) -> None:
    """The protocol answers no request itself."""
    app = Application()
    async with connected(app) as connection:
        connection.receive(method + b" " + path + b" HTTP/1.1\r\nOrigin: a\r\nContent-Length: 0\r\n\r\n")
        await settle()
        await connection.responses(200)
    assert len(app.scopes) == 1


@pytest.mark.parametrize("version", [b"HTTP/2.0", b"HTTP/0.9", b"RTSP/1.0", b" RTSP/1.0"])
@pytest.mark.parametrize("pieces", [1, 1000])
async def test_another_version_that_the_parser_knows_gets_505(version: bytes, pieces: int) -> None:
    app = Application()
    request = b"POST /predict " + version + b"\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
    size = -(-len(request) // pieces)
    async with connected(app) as connection:
        connection.receive(*(request[start : start + size] for start in range(0, len(request), size)))
        await connection.responses(505)
        assert connection.problem["title"] == "HTTP Version Not Supported"
        assert connection.transport.is_closing()
        assert connection.refused == [505]
    assert app.scopes == []


async def test_another_version_behind_a_request_closes_after_its_response() -> None:
    app = Application()
    app.open.clear()
    async with connected(app) as connection:
        connection.receive(GET + GET.replace(b"HTTP/1.1", b"HTTP/2.0") + GET)
        await settle()
        app.open.set()
        await connection.responses(200)
        assert connection.transport.is_closing()
    assert len(app.scopes) == 1


async def test_a_text_about_rtsp_is_a_text() -> None:
    app = Application()
    body = b"POST /predict RTSP/1.0\r\nGET /livez RTSP/1.0"
    request = POST + b"X: a RTSP/1.0\r\nContent-Length: %d\r\n\r\n" % len(body)
    async with connected(app) as connection:
        connection.receive(request + body + GET, request, body + GET)
        await connection.responses(200, 200, 200, 200)
    assert app.bodies == [body, b""] * 2


@pytest.mark.parametrize(
    ("target", "status"),
    [
        (b"http://a/livez", 200), (b"HTTPS://A/livez?x", 200), (b"http://b/livez", 400), (b"http://a:80/livez", 400),
        (b"http://b@a/livez", 400), (b"http://a@b/livez", 400), (b"http://a", 400), (b"ftp://a/livez", 400),
        (b"/livez#", 400), (b"/livez?x#y", 400), (b"*", 400), (b"http://a/livez#x", 400), (b"//a/livez", 200),
    ],
)  # fmt: skip
async def test_a_target_is_a_path_or_a_url_of_the_host_header(target: bytes, status: int) -> None:
    async with connected() as connection:
        connection.receive(b"GET " + target + b" HTTP/1.1\r\nHost: a\r\n\r\n")
        await connection.responses(status)


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


@settings(max_examples=200)
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
