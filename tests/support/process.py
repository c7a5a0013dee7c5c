"""A real server in a process of its own, on a free port, as a user starts it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[2]


@dataclass
class Server:
    process: "subprocess.Popen[bytes]"
    log: Path
    address: str = ""

    def lines(self) -> list[dict[str, Any]]:
        """Every log line that is written so far; one that is no JSON fails the test."""
        text = self.log.read_text()
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def events(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.lines() if line["event"] == event]

    def wait_for(self, event: str, timeout_s: float = 60, **fields: Any) -> dict[str, Any]:
        """The first line of an event with these fields, as soon as it is written."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            ended = self.process.poll()
            for line in self.events(event):
                if fields.items() <= line.items():
                    return line
            assert ended is None, f"the server ended with {ended}:\n{self.log.read_text()}"
            time.sleep(0.02)
        raise AssertionError(f"no event {event!r} in {timeout_s} s:\n{self.log.read_text()}")

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def wait(self, timeout_s: float = 30) -> int:
        return self.process.wait(timeout_s)

    def client(self, **options: Any) -> httpx.Client:
        return httpx.Client(base_url=self.address, timeout=30, **options)

    def metric(self, name: str) -> float:
        """The value of one series, 0 when there is none yet."""
        for line in httpx.get(f"{self.address}/metrics").text.splitlines():
            if line.startswith(f"{name} "):
                return float(line.split()[-1])
        return 0.0


@contextlib.contextmanager
def serve(
    *flags: str, wait: str = "ready", prelude: str = "", environment: Mapping[str, str] | None = None, **settings: str
) -> Iterator[Server]:
    """Start `rt-sentiment serve`, wait for a log event and stop it at the end, by force if it must be.

    `settings` are environment variables without their prefix; `prelude` is Python that runs first in the process.
    """
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SENTIMENT_")}
    environment = clean | dict(environment or {})
    environment |= {f"SENTIMENT_{name.upper()}": value for name, value in settings.items()}
    command = f"{prelude}\nfrom app.cli import main\nmain()"
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [sys.executable, "-c", command, "serve", "--port", "0", "--log-format", "json", *flags],
                cwd=ROOT,
                env=environment,
                stderr=stream,
            )
        server = Server(process, log)
        try:
            server.address = server.wait_for("listening")["address"]
            server.wait_for(wait)
            yield server
        finally:
            if process.poll() is None:
                server.terminate()
                try:
                    server.wait(15)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
