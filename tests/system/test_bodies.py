"""The memory of all bodies together, and what follows a refused body, over real sockets."""

import contextlib
import json
from collections.abc import Iterator

import pytest

from tests.support.process import Server, serve

HEAD = b"POST /predict/batch HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
LIST = json.dumps({"texts": ["a good day " * 90] * 20}).encode()  # 20 KB


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve(backend="mock", max_body_bytes="50000", max_bodies_bytes="200000") as running:
        yield running


def test_bodies_that_are_held_leave_room_for_small_ones(server: Server) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(12):
            connection = stack.enter_context(server.connect())
            connection.sendall(HEAD + b"Content-Length: 30000\r\n\r\n" + LIST)
        server.wait_for("bodies refused")
        refused = server.post(json.loads(LIST), "/predict/batch")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert refused.json()["detail"] == "request bodies take too much memory; try again later"
        assert server.post({"texts": ["good"]}, "/predict/batch").status_code == 200
        assert server.get("/readyz").status_code == 200
    with server.client() as http:  # once those clients have left
        for _ in range(1000):
            if http.post("/predict/batch", json=json.loads(LIST)).status_code == 200:
                return
    pytest.fail("the memory of bodies is not free again")


def test_a_client_that_sends_all_of_a_large_body_first_sees_its_413(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(HEAD + b"Content-Length: 900000\r\n\r\n" + b" " * 900_000)
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")


def test_tiny_chunks_after_a_refusal_are_not_read_to_their_end(server: Server) -> None:
    with server.connect() as connection, pytest.raises(ConnectionError):  # noqa: PT012 - any of them may fail
        connection.sendall(HEAD + b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 415 ")
        for _ in range(100):
            connection.sendall(b"1\r\n \r\n" * 40_000)
