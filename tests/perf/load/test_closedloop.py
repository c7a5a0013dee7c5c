"""Each connection sends one request after the other, and every response is judged."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from perf.load.closedloop import NOT_ANSWERED, Response, offering
from perf.load.openloop import encode_request
from tests.support.waiting import until


class Handler(BaseHTTPRequestHandler):
    """Answers what was sent; closes the connection instead of an answer to one request, and after another."""

    protocol_version = "HTTP/1.1"
    bodies: Counter[bytes]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.bodies[body] += 1
        self.close_connection = body == b"1 2"
        if body == b"1 1":
            self.close_connection = True
            return
        self.send_response(503 if body == b"0 1" else 200)
        self.send_header("X-Model", f"m@{body.decode()[0]}")
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: object) -> None: ...


@contextmanager
def server() -> Iterator[tuple[str, Counter[bytes]]]:
    bodies: Counter[bytes] = Counter()
    running = ThreadingHTTPServer(("127.0.0.1", 0), type("Counting", (Handler,), {"bodies": bodies}))
    thread = threading.Thread(target=running.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{running.server_port}", bodies
    finally:
        running.shutdown()
        thread.join()
        running.server_close()


def request_of(connection: int, count: int) -> bytes:
    return encode_request("http://127.0.0.1", "/predict", f"{connection} {count}".encode(), {})


def judge(response: Response) -> str:
    return f"{response.status} {response.model} {response.body.decode()}"


def test_a_closed_loop_keeps_what_came_back_for_each_request() -> None:
    with server() as (address, bodies):
        with offering(address, 2, request_of, judge) as load:
            until(lambda: bodies[b"0 5"] and bodies[b"1 5"])
        assert set(bodies.values()) == {1}
    notes = [answer.note for answer in load.answers]
    for expected in ("200 m@0 0 0", "503 m@0 0 1", "200 m@1 1 0", "200 m@1 1 2", "200 m@1 1 5"):
        assert notes.count(expected) == 1
    # The one without an answer, and perhaps the next on the connection that the server has closed.
    assert 1 <= notes.count(f"{NOT_ANSWERED}  ") <= 2
    assert len(load.answers) == bodies.total() + notes.count(f"{NOT_ANSWERED}  ") - 1
    assert all(answer.sent_s <= answer.answered_s for answer in load.answers)
    assert Counter(answer.status for answer in load.answers)[503] == 1


def test_a_server_that_is_not_there_counts_as_not_answered() -> None:
    with server() as (address, _):
        pass
    with offering(address, 1, request_of, judge) as load:
        pass
    assert {answer.status for answer in load.answers} <= {NOT_ANSWERED}
