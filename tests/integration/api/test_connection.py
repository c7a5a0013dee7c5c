"""Clients that are slow, broken or hostile, on a raw socket."""

import contextlib
import json
import re
import socket
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.process import Server, serve
from tests.support.waiting import until

PREDICT = b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
LAST = b"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
TIMEOUT_S = 2


@pytest.fixture(scope="module")
def impatient() -> Iterator[Server]:
    """A server with short limits on time, for clients that exceed them."""
    with serve(backend="mock", header_timeout_s=str(TIMEOUT_S), body_timeout_s=str(TIMEOUT_S)) as running:
        yield running


@pytest.fixture(scope="module")
def patient() -> Iterator[Server]:
    """A server without short limits on time, for clients that are in time however slow the machine is."""
    with serve(backend="mock", max_header_bytes="2048") as running:
        yield running


@contextlib.contextmanager
def connected(server: Server) -> Iterator[socket.socket]:
    with server.connect() as connection:
        yield connection


def is_open_at(server: Server, connection: socket.socket) -> bool:
    """Whether the server still has the connection open; the client sees its end only once it has read everything."""
    ours, theirs = (f":{address[1]:04X}" for address in (connection.getsockname(), connection.getpeername()))
    rows = [line.split()[1:4] for line in Path(f"/proc/{server.process.pid}/net/tcp").read_text().splitlines()[1:]]
    return any(row[0].endswith(theirs) and row[1].endswith(ours) and row[2] == "01" for row in rows)


def read_all(connection: socket.socket) -> bytes:
    """Read until the server closes the connection."""
    received = b""
    while chunk := connection.recv(65536):
        received += chunk
    return received


def read_response(connection: socket.socket) -> bytes:
    """Read one response with a JSON body."""
    received = b""
    while not received.endswith(b"}"):
        received += connection.recv(65536)
    return received


def statuses(received: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+) ", received)]


def parse(received: bytes) -> tuple[int, dict[str, str], dict[str, Any]]:
    """Return the status, the headers and the JSON body of a response."""
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    assert int(headers["content-length"]) == len(body)
    return int(first.split()[1]), headers, json.loads(body)


def assert_is_problem(received: bytes, status: int, detail: str, server: Server) -> None:
    actual, headers, body = parse(received)
    assert (actual, body["status"], body["detail"]) == (status, status, detail)
    assert headers["content-type"] == "application/problem+json"
    assert headers["connection"] == "close"
    assert headers["x-request-id"] == body["request_id"]
    assert server.wait_for("request", request_id=body["request_id"])["status"] == status


def assert_cut_off(connection: socket.socket, pieces: Iterable[bytes], pause_s: float = 0.05) -> None:
    """Send piece after piece, and check that the server ends the connection before the last."""
    with contextlib.suppress(ConnectionError):
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(pause_s)
        pytest.fail("the connection stays open")


@pytest.mark.parametrize("sent", [b"P", b"POST /predict HTTP/1.1\r\nHost", PREDICT])
def test_headers_that_do_not_arrive_get_408(impatient: Server, sent: bytes) -> None:
    with connected(impatient) as connection:
        connection.sendall(sent)
        assert_is_problem(read_all(connection), 408, "the headers did not arrive in time", impatient)


def test_headers_that_arrive_slowly_have_no_more_time(impatient: Server) -> None:
    with connected(impatient) as connection:
        assert_cut_off(connection, (bytes([byte]) for byte in PREDICT * 4))


def test_a_second_request_on_a_connection_has_the_same_time(impatient: Server) -> None:
    with connected(impatient) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        time.sleep(1.4 * TIMEOUT_S)  # an idle connection stays open
        connection.sendall(b"GET /livez HTTP/1.1\r\n")
        assert_is_problem(read_all(connection), 408, "the headers did not arrive in time", impatient)


def test_a_connection_that_is_never_used_is_closed(impatient: Server) -> None:
    with connected(impatient) as connection:
        assert read_all(connection) == b""


@pytest.mark.parametrize("sent", [PREDICT + b"X: " + b"x" * 4096, b"GET /" + b"x" * 4096, PREDICT + b"X: y\r\n" * 1000])
def test_headers_without_end_get_431(patient: Server, sent: bytes) -> None:
    with connected(patient) as connection:
        connection.sendall(sent)
        detail = "the headers are larger than 2048 bytes in total"
        assert_is_problem(read_all(connection), 431, detail, patient)


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
def test_malformed_http_gets_400(patient: Server, sent: bytes) -> None:
    with connected(patient) as connection:
        connection.sendall(sent)
        assert_is_problem(read_all(connection), 400, "the request is not valid HTTP/1.1 (RFC 9112)", patient)


def test_malformed_http_is_counted(patient: Server) -> None:
    series = 'http_requests_total{handler="none",method="other",status="400"}'
    before = patient.metric(series)
    with connected(patient) as connection:
        connection.sendall(b"hello\r\n\r\n")
        read_all(connection)
    assert patient.metric(series) == before + 1


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /info HTTP/1.1\r\n\r\n",
        b"GET /info HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
    ],
)
def test_a_request_without_exactly_one_host_gets_400(patient: Server, sent: bytes) -> None:
    with connected(patient) as connection:
        connection.sendall(sent)
        assert_is_problem(read_all(connection), 400, "the request needs exactly one Host header", patient)


def test_an_http_1_0_client_needs_no_host(patient: Server) -> None:
    with connected(patient) as connection:
        connection.sendall(b"GET /livez HTTP/1.0\r\n\r\n")
        assert read_all(connection).startswith(b"HTTP/1.1 200 ")


def test_incomplete_headers_behind_a_request_get_408(impatient: Server) -> None:
    body = b'{"text": "good"}'
    with connected(impatient) as connection:
        connection.sendall(PREDICT + b"Content-Length: %d\r\n\r\n%sPOST /pre" % (len(body), body))
        assert statuses(read_all(connection)) == [200, 408]


@pytest.mark.parametrize(("text", "status"), [(b"new", 200), (b"cached", 200), (b"", 422)])
def test_malformed_http_behind_a_request_does_not_spoil_its_response(patient: Server, text: bytes, status: int) -> None:
    body = b'{"text": "%s"}' % text
    with patient.client() as http:
        http.post("/predict", json={"text": "cached"})
    with connected(patient) as connection:
        connection.sendall(PREDICT + b"Content-Length: %d\r\n\r\n%sbroken\r\n\r\n" % (len(body), body))
        received = read_all(connection)
    assert statuses(received) == [status]
    assert received.lower().count(b"\r\nconnection: close\r\n") == 1


@pytest.mark.parametrize("path", [b"/predict", b"/predict/batch"])
def test_a_body_that_does_not_arrive_gets_408(impatient: Server, path: bytes) -> None:
    with connected(impatient) as connection:
        connection.sendall(PREDICT.replace(b"/predict", path) + b'Content-Length: 100\r\n\r\n{"te')
        assert_is_problem(read_all(connection), 408, "the body did not arrive in time", impatient)


def test_a_body_that_arrives_slowly_has_no_more_time(impatient: Server) -> None:
    with connected(impatient) as connection:
        connection.sendall(PREDICT + b"Content-Length: 100000\r\n\r\n")
        assert_cut_off(connection, [b" "] * 300)


def test_the_first_of_two_headers_with_the_same_name_counts(patient: Server) -> None:
    body = b'{"text": "good"}'
    head = b"POST /predict HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n" % len(body)
    for media_type, status in ((b"text/plain", 415), (b"application/json", 200)):
        types = b"Content-Type: " + media_type + b"\r\nContent-Type: application/json\r\n\r\n"
        with connected(patient) as connection:
            connection.sendall(head + types + body)
            assert statuses(read_all(connection)) == [status]


def test_a_body_that_is_refused_may_be_sent_to_its_end(patient: Server) -> None:
    """If the connection were closed at once, the client would see a reset instead of the response."""
    with connected(patient) as connection:
        connection.sendall(PREDICT + b"Content-Length: 900000\r\n\r\n")
        connection.sendall(b" " * 900_000)
        connection.sendall(LAST)
        assert statuses(read_all(connection)) == [413, 200]


@pytest.mark.parametrize("late", [b"12345", b"12345\r\n"])
def test_data_after_a_response_does_not_keep_the_connection_open(late: bytes) -> None:
    with serve(backend="mock", header_timeout_s="5", keep_alive_s="5") as server, connected(server) as connection:
        connection.sendall(b"PUT /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
        assert statuses(read_response(connection)) == [405]
        connection.sendall(late)  # the body, which the server does not need
        time.sleep(0.2)
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
        assert statuses(read_response(connection)) == [200]
        connection.sendall(b"\r\n")  # is allowed between requests
        assert read_all(connection) == b""


@pytest.mark.parametrize("pause_s", [0.0, 0.1])
def test_a_body_that_is_refused_and_never_ends_is_cut_off(impatient: Server, pause_s: float) -> None:
    with connected(impatient) as connection:
        connection.sendall(PREDICT + b"Content-Length: 1000000000\r\n\r\n")
        assert_cut_off(connection, [b" " * 65536] * 1500, pause_s)


def test_a_client_that_does_not_read_its_responses_is_cut_off(impatient: Server, patient: Server) -> None:
    size = len(patient.get("/openapi.json").content)
    count = 40_000_000 // size  # more than the buffers of the sockets hold
    with connected(impatient) as connection:
        connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n" * count)
        until(lambda: not is_open_at(impatient, connection))
        received = 0
        with contextlib.suppress(ConnectionError):
            while chunk := connection.recv(65536):
                received += len(chunk)
    assert 0 < received < count * size / 2
    assert not impatient.events("unexpected error")


def test_other_clients_are_answered_while_200_are_slow(patient: Server) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(connected(patient)).sendall(PREDICT)
        with patient.client() as http:
            assert http.post("/predict", json={"text": "good"}).json()["label"] == "positive"
