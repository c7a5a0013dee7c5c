"""Clients that are slow, broken or rude, on a raw socket."""

import contextlib
import json
import re
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.process import Server, serve

PREDICT = b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def impatient() -> Iterator[Server]:
    """A server that waits half a second for whatever a client has to do."""
    limits = {"header_timeout_s": "0.5", "body_timeout_s": "0.5", "keep_alive_s": "1", "max_header_bytes": "2048"}
    with serve(backend="mock", **limits) as running:
        yield running


@contextlib.contextmanager
def connected(server: Server) -> Iterator[socket.socket]:
    host, _, port = server.address.removeprefix("http://").rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        yield connection


def rest(connection: socket.socket) -> bytes:
    """All that comes until the server ends the connection."""
    received = b""
    while chunk := connection.recv(65536):
        received += chunk
    return received


def first(connection: socket.socket) -> bytes:
    """One answer, of JSON."""
    received = b""
    while not received.endswith(b"}"):
        received += connection.recv(65536)
    return received


def answered(received: bytes) -> tuple[int, dict[str, str], dict[str, Any]]:
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    assert int(headers["content-length"]) == len(body)
    return int(first.split()[1]), headers, json.loads(body)


def assert_is_problem(received: bytes, status: int, detail: str, server: Server) -> None:
    found, headers, body = answered(received)
    assert (found, body["status"], body["detail"]) == (status, status, detail)
    assert headers["content-type"] == "application/problem+json"
    assert headers["connection"] == "close"
    assert headers["x-request-id"] == body["request_id"]
    assert server.wait_for("request", request_id=body["request_id"])["status"] == status


@pytest.mark.parametrize("sent", [b"P", b"POST /predict HTTP/1.1\r\nHost", PREDICT])
def test_headers_that_do_not_come_are_answered_408(impatient: Server, sent: bytes) -> None:
    with connected(impatient) as connection:
        connection.sendall(sent)
        assert_is_problem(rest(connection), 408, "the headers did not arrive in time", impatient)


def test_headers_that_trickle_have_no_more_time_than_others(impatient: Server) -> None:
    begun_s = time.monotonic()
    with connected(impatient) as connection, contextlib.suppress(ConnectionError):
        for byte in PREDICT * 100:
            connection.sendall(bytes([byte]))
            time.sleep(0.05)
            if time.monotonic() - begun_s > 5:
                break
    assert time.monotonic() - begun_s < 5


def test_a_second_request_on_a_connection_has_the_same_time(impatient: Server) -> None:
    with connected(impatient) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        time.sleep(0.7)  # idle connections are kept
        connection.sendall(b"GET /livez HTTP/1.1\r\n")
        assert_is_problem(rest(connection), 408, "the headers did not arrive in time", impatient)


def test_a_connection_that_is_never_used_is_closed(impatient: Server) -> None:
    with connected(impatient) as connection:
        assert rest(connection) == b""


@pytest.mark.parametrize("sent", [PREDICT + b"X: " + b"x" * 4096, b"GET /" + b"x" * 4096, PREDICT + b"X: y\r\n" * 1000])
def test_headers_that_never_end_are_answered_431(impatient: Server, sent: bytes) -> None:
    with connected(impatient) as connection:
        connection.sendall(sent)
        detail = "the headers are larger than 2048 bytes together"
        assert_is_problem(rest(connection), 431, detail, impatient)


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
        b"hello\r\n\r\n",
        b"GET / HTTP/3.0\r\n\r\n",
        PREDICT + b"Transfer-Encoding: chunked\r\n\r\nbroken",
        PREDICT + b"Origin: http://a.example\r\nTransfer-Encoding: chunked\r\n\r\nbroken",
        PREDICT + b'Origin: http://a.example\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"tex\r\nbroken\r\n',
    ],
)
def test_what_is_no_http_is_answered_400(impatient: Server, sent: bytes) -> None:
    with connected(impatient) as connection:
        connection.sendall(sent)
        assert_is_problem(rest(connection), 400, "this is not valid HTTP/1.1 (RFC 9112)", impatient)


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /info HTTP/1.1\r\n\r\n",
        b"GET /info HTTP/2.0\r\n\r\n",
        b"GET /info\r\n\r\n",
        b"GET /info HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
    ],
)
def test_a_request_without_one_host_is_answered_400(impatient: Server, sent: bytes) -> None:
    with connected(impatient) as connection:
        connection.sendall(sent)
        assert_is_problem(rest(connection), 400, "the request needs exactly one Host header", impatient)


def test_an_older_client_needs_to_name_no_host(impatient: Server) -> None:
    with connected(impatient) as connection:
        connection.sendall(b"GET /livez HTTP/1.0\r\n\r\n")
        assert rest(connection).startswith(b"HTTP/1.1 200 ")


def test_half_a_head_behind_a_request_is_answered_408(impatient: Server) -> None:
    body = b'{"text": "good"}'
    with connected(impatient) as connection:
        connection.sendall(PREDICT + b"Content-Length: %d\r\n\r\n%sPOST /pre" % (len(body), body))
        answers = re.findall(rb"HTTP/1\.1 (\d+) ", rest(connection))
    assert answers == [b"200", b"408"]


def test_what_is_no_http_is_counted(impatient: Server) -> None:
    counted = 'http_requests_total{handler="none",method="other",status="400"}'
    before = impatient.metric(counted)
    with connected(impatient) as connection:
        connection.sendall(b"hello\r\n\r\n")
        rest(connection)
    assert impatient.metric(counted) == before + 1


@pytest.mark.parametrize("text", [b"not asked before", b"known", b""])
def test_broken_http_after_a_request_does_not_spoil_its_answer(impatient: Server, text: bytes) -> None:
    """The connection ends behind the response."""
    body = b'{"text": "%s"}' % text
    with impatient.client() as http:
        http.post("/predict", json={"text": "known"})
    with connected(impatient) as connection:
        connection.sendall(PREDICT + b"Content-Length: %d\r\n\r\n%sbroken\r\n\r\n" % (len(body), body))
        received = rest(connection)
    answers = re.findall(rb"HTTP/1\.1 (\d+) ", received)
    assert answers == [b"200" if text else b"422"]
    assert received.lower().count(b"\r\nconnection: close\r\n") == 1


@pytest.mark.parametrize("path", [b"/predict", b"/predict/batch"])
def test_a_body_that_does_not_come_is_answered_408(impatient: Server, path: bytes) -> None:
    with connected(impatient) as connection:
        connection.sendall(PREDICT.replace(b"/predict", path) + b'Content-Length: 100\r\n\r\n{"te')
        assert_is_problem(rest(connection), 408, "the body did not arrive in time", impatient)


def test_a_body_that_trickles_has_no_more_time_than_others(impatient: Server) -> None:
    begun_s = time.monotonic()
    with connected(impatient) as connection, contextlib.suppress(ConnectionError):
        connection.sendall(PREDICT + b"Content-Length: 100000\r\n\r\n")
        while time.monotonic() - begun_s < 5:
            connection.sendall(b" ")
            time.sleep(0.05)
    assert time.monotonic() - begun_s < 5


def test_a_body_behind_another_request_has_its_own_time() -> None:
    body = b'{"text": "good"}'
    request = PREDICT + b"Content-Length: %d\r\n\r\n" % len(body)
    with serve(backend="mock", header_timeout_s="0.5", body_timeout_s="10") as server, connected(server) as connection:
        connection.sendall(request + body + request)
        time.sleep(1.2)
        connection.sendall(body + b"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert [answer[:3] for answer in rest(connection).split(b"HTTP/1.1 ")[1:]] == [b"200"] * 3


def test_of_a_header_that_comes_twice_the_first_counts(impatient: Server) -> None:
    body = b'{"text": "good"}'
    head = b"POST /predict HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n" % len(body)
    for types, status in ((b"text/plain", b"415"), (b"application/json", b"200")):
        with connected(impatient) as connection:
            connection.sendall(head + b"Content-Type: " + types + b"\r\nContent-Type: application/json\r\n\r\n" + body)
            assert rest(connection).startswith(b"HTTP/1.1 " + status)


def test_a_body_that_is_refused_may_end_before_the_connection_does(impatient: Server) -> None:
    """Its sender would see a reset instead of the answer, if the connection ended at once."""
    with connected(impatient) as connection:
        connection.sendall(PREDICT + b"Content-Length: 900000\r\n\r\n")
        connection.sendall(b" " * 900_000)
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        first, second = rest(connection).split(b"HTTP/1.1 ")[1:]
    assert first.startswith(b"413")
    assert second.startswith(b"200")


@pytest.mark.parametrize("late", [b"12345", b"12345\r\n"])
def test_what_comes_after_an_answer_does_not_keep_the_connection_for_good(impatient: Server, late: bytes) -> None:
    with connected(impatient) as connection:
        connection.sendall(b"PUT /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
        assert first(connection).startswith(b"HTTP/1.1 405 ")
        connection.sendall(late)  # the body that nobody read
        time.sleep(0.2)
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
        assert first(connection).startswith(b"HTTP/1.1 200 ")
        connection.sendall(b"\r\n")  # is allowed between requests
        assert rest(connection) == b""


@pytest.mark.parametrize("pause_s", [0.0, 0.1])
def test_a_body_that_is_refused_and_never_ends_is_cut_off(impatient: Server, pause_s: float) -> None:
    begun_s, sent = time.monotonic(), 0
    with connected(impatient) as connection, contextlib.suppress(ConnectionError):
        connection.sendall(PREDICT + b"Content-Length: 1000000000\r\n\r\n")
        while time.monotonic() - begun_s < 8:
            connection.sendall(b" " * 65536)
            sent += 65536
            time.sleep(pause_s)
    assert time.monotonic() - begun_s < 5
    assert sent < 100_000_000


def test_a_client_that_does_not_fetch_its_answers_is_cut_off(impatient: Server) -> None:
    with impatient.client() as http:
        size = len(http.get("/openapi.json").content)
    asked = 40_000_000 // size  # more than the sockets' buffers hold
    with connected(impatient) as connection:
        connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n" * asked)
        time.sleep(2)
        received = 0
        with contextlib.suppress(ConnectionError):
            while chunk := connection.recv(65536):
                received += len(chunk)
    assert 0 < received < asked * size / 2
    assert not impatient.events("unexpected error")


def test_others_are_answered_meanwhile(impatient: Server) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(connected(impatient)).sendall(PREDICT)
        with impatient.client() as http:
            assert http.post("/predict", json={"text": "good"}).json()["label"] == "positive"
