"""A server that gives the answers that a test wants."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

INFO = {
    "model": "m",
    "model_version": "1",
    "checksum": None,
    "backend": "mock",
    "precision": "none",
    "labels": ["negative", "positive"],
    "limits": {"max_batch_texts": 4, "max_body_bytes": 1_000_000},
}
_GOOD = {"label": "positive", "confidence": 0.9, "scores": {"negative": 0.1, "positive": 0.9}, "truncated": False}


@contextmanager
def answering(*answers: tuple[int, Any], headers: dict[str, str] | None = None) -> Iterator[tuple[str, list[Any]]]:
    """A server that describes itself, then gives these answers in turn, and the last one again and again.

    An answer of status 0 closes the connection. Yields the address and the bodies of the requests.
    """
    left, bodies, lock = list(answers), list[Any](), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.reply(200, INFO)

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                bodies.append(body)
                status, answer = left.pop(0) if len(left) > 1 else left[0]
            self.reply(status, answer(body) if callable(answer) else answer)

        def reply(self, status: int, answer: Any) -> None:
            if not status:
                self.close_connection = True
                return
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", bodies
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def predictions(body: dict[str, Any]) -> dict[str, Any]:
    """The answer that calls every text of a list positive."""
    return {"predictions": [_GOOD for _ in body["texts"]]}
