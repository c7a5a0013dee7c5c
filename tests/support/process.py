"""A real server in a process of its own, on a free port."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.support import forks
from tests.support.waiting import HANG_S, until

ROOT = Path(__file__).parents[2]

_HANG_MS = str(HANG_S * 1000)
# Settings of every server that a test starts, so that no limit on time applies unless the test is about it.
PATIENT = {
    "max_wait_ms": _HANG_MS,
    "request_timeout_ms": _HANG_MS,
    "backend_timeout_ms": _HANG_MS,
    "drain_timeout_ms": _HANG_MS,
    "header_timeout_s": str(HANG_S),
    "body_timeout_s": str(HANG_S),
}
# For tests that send two signals: a second one always counts, or never does.
EVERY_SIGNAL_COUNTS = "import app.server.signals\napp.server.signals._REPEAT_S = 0\n"
ONE_SIGNAL_COUNTS = f"import app.server.signals\napp.server.signals._REPEAT_S = {HANG_S}\n"


# What `rt-sentiment serve` imports.
_IMPORTS = ("app.cli.serve", "app.main", "app.server", "app.inference.backends.onnx", "app.inference.backends.mock")


@dataclass
class Server:
    """A running `rt-sentiment serve` and its log."""

    process: "forks.Process | subprocess.Popen[bytes]"
    log: Path
    address: str = ""

    def lines(self) -> list[dict[str, Any]]:
        """All complete log lines so far. A line that is not JSON fails the test."""
        text = self.log.read_text()
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def events(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.lines() if line["event"] == event]

    def wait_for(self, event: str, **fields: Any) -> dict[str, Any]:
        """Wait until the log has an event with these fields, and return its first line."""

        def matching_line() -> dict[str, Any] | None:
            exit_status = self.process.poll()  # before the log is read, or its last lines could be missed
            for line in self.events(event):
                if fields.items() <= line.items():
                    return line
            assert exit_status is None, f"the server ended with {exit_status}:\n{self.log.read_text()}"
            return None

        line = until(matching_line, on_timeout=lambda: f"no event {event!r}:\n{self.log.read_text()}")
        assert line is not None
        return line

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def wait(self, timeout_s: float = HANG_S) -> int:
        """Wait for the process to end, and return its exit status."""
        return self.process.wait(timeout_s)

    def client(self, **options: Any) -> httpx.Client:
        return httpx.Client(base_url=self.address, timeout=HANG_S, **options)

    def get(self, path: str, **options: Any) -> httpx.Response:
        """Send a request over a new connection."""
        return httpx.get(f"{self.address}{path}", timeout=HANG_S, **options)

    def post(self, body: object, path: str = "/predict", **options: Any) -> httpx.Response:
        """Send JSON over a new connection."""
        return httpx.post(f"{self.address}{path}", json=body, timeout=HANG_S, **options)

    def post_in_background(self, body: object, path: str = "/predict") -> "BackgroundRequest":
        return BackgroundRequest(self, body, path)

    def connect(self, timeout_s: float = HANG_S) -> socket.socket:
        """Open a TCP connection."""
        host, _, port = self.address.removeprefix("http://").rpartition(":")
        return socket.create_connection((host, int(port)), timeout=timeout_s)

    def metric(self, name: str) -> float:
        """The value of one series, 0 if there is none yet."""
        for line in self.get("/metrics").text.splitlines():
            if line.startswith(f"{name} "):
                return float(line.split()[-1])
        return 0.0

    def wait_for_metric(self, name: str, value: float) -> None:
        until(lambda: self.metric(name) == value, on_timeout=lambda: f"{name} is {self.metric(name)}, not {value}")

    def wait_for_misses(self, texts: int) -> None:
        """Wait until so many texts have been sent to the model, or to its queue."""
        self.wait_for_metric('sentiment_cache_total{outcome="miss"}', texts)


class BackgroundRequest:
    """A request that is sent by a thread, so that the test can act before the response."""

    def __init__(self, server: Server, body: object, path: str) -> None:
        self._response: httpx.Response | None = None
        self._error: httpx.HTTPError | None = None
        self._thread = threading.Thread(target=self._run, args=(server, body, path))
        self._thread.start()

    def _run(self, server: Server, body: object, path: str) -> None:
        try:
            self._response = server.post(body, path)
        except httpx.HTTPError as error:
            self._error = error

    def response(self) -> httpx.Response:
        self.join()
        assert self._response is not None, self._error
        return self._response

    def join(self) -> None:
        """Wait for the response, or for the end of the connection."""
        self._thread.join(HANG_S)
        assert not self._thread.is_alive()


@contextlib.contextmanager
def serve(
    *flags: str,
    wait: str = "ready",
    prelude: str = "",
    environment: Mapping[str, str] | None = None,
    frozen_s: float = HANG_S,
    fresh: bool = False,
    **settings: str,
) -> Iterator[Server]:
    """Start `rt-sentiment serve`, wait for a log event, and stop the server at the end, by force if necessary.

    `settings` are environment variables without their prefix, `environment` others. `prelude` is Python code that the
    process runs first. SIGHUP has its default action, even if the tests run under nohup. The supervisor of several
    workers replaces one that is silent for `frozen_s`. With `fresh`, nothing has been imported before.
    """
    if int(settings.get("workers", 1)) > 1:
        prelude = f"import app.server.worker\napp.server.worker._FROZEN_S = {frozen_s}\n{prelude}"
    command = (
        f"import signal\nsignal.signal(signal.SIGHUP, signal.SIG_DFL)\n{prelude}\nfrom app.cli import main\nmain()"
    )
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with log.open("wb") as stream:
            args = ["serve", "--port", "0", "--log-format", "json", *flags]
            variables = clean_environment(**PATIENT | settings) | dict(environment or {})
            process: forks.Process | subprocess.Popen[bytes]
            if fresh:
                whole = [sys.executable, "-c", command, *args]
                process = subprocess.Popen(whole, cwd=ROOT, env=variables, stderr=stream)
            else:
                process = forks.start(_IMPORTS, command, args, ROOT, variables, stream)
        server = Server(process, log)
        try:
            server.address = server.wait_for("listening")["address"]
            server.wait_for(wait)
            yield server
        finally:
            if process.poll() is None:
                server.terminate()
                try:
                    server.wait(60)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def clean_environment(**settings: str) -> dict[str, str]:
    """The environment of the tests with these settings and no others."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("SENTIMENT_") and name != "PORT"}
    return others | {f"SENTIMENT_{name.upper()}": value for name, value in settings.items()}
