"""Models and a server that say what a test wants."""

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import click
from click.testing import CliRunner, Result

from app.cli.models.compare import compare
from app.tables import Result as Outcome
from app.tables import Scorer, Window
from app.types import Prediction


@click.group()
def models() -> None:
    """The group that the command belongs to."""


models.add_command(compare)


def run(*args: object) -> Result:
    """Run `models compare`; what it raises is in `exception`."""
    return CliRunner().invoke(models, ["compare", *map(str, args)], standalone_mode=False)


class FakeScorer(Scorer):
    """Calls a text good if it has one of the words; fails at texts with a question mark."""

    window = Window()
    parallel = 1

    def __init__(self, name: str, *words: str, labels: Sequence[str] = ("bad", "good")) -> None:
        self.description = {"model": name}
        self.labels = labels
        self.calls: list[int] = []
        self._words = words

    def score(self, texts: Sequence[str]) -> list[Outcome]:
        self.calls.append(len(texts))
        return [self._score(text) for text in texts]

    def _score(self, text: str) -> Outcome:
        if "?" in text:
            return "the model fails at this text"
        good = 0.9 if any(word in text for word in self._words) else 0.2
        label = self.labels[good > 0.5]
        return Prediction(label, max(good, 1 - good), dict(zip(self.labels, (1 - good, good), strict=True)))

    def cancel(self) -> None:
        """Nothing is running."""


@contextmanager
def serving(answer: Any) -> Iterator[tuple[str, list[tuple[str, str | None]]]]:
    """A server with this answer at `/models`. Yields its address, and the paths and keys of requests."""
    requests: list[tuple[str, str | None]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append((self.path, self.headers.get("Authorization")))
            data = json.dumps(answer).encode()
            self.send_response(200 if self.path == "/models" else 404)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", requests
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
