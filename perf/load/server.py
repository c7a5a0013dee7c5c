"""Servers to measure, and the load on them: shared by the benchmarks."""

import contextlib
import http.client
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from app.cpu import usable_cores
from nginx.process import free_port

ROOT = Path(__file__).parents[2]
# Of a server, or a load, that one event loop carries: more than four cores it cannot keep busy.
PROCESSES = max(1, usable_cores() // 4)

direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # past any proxy of the environment


def wrk_or_exit() -> None:
    """End with a message where the load generator is missing."""
    if shutil.which("wrk") is None:
        sys.exit("wrk is needed: apt-get install wrk")


@contextlib.contextmanager
def running(
    command: Sequence[str] | Callable[[int], Sequence[str]],
    *,
    path: str = "/predict",
    body: Any = None,
    environment: Mapping[str, str] | None = None,
    patience_s: float = 180,
) -> Iterator[str]:
    """Start a server, with a free port as its last argument; yield its address once it answers; stop it.

    A command may be made from the port instead. The server has answered when `body`, posted to `path`, is. Ends the
    process with what the server wrote when the server ends before it answers, or has not answered in time.
    """
    port = free_port()
    command = command(port) if callable(command) else [*command, str(port)]
    body = {"text": "good"} if body is None else body
    environment = os.environ | {"ORT_DISABLE_TELEMETRY": "1"} | (environment or {})
    with (
        _exit_when_terminated(),
        tempfile.TemporaryFile("w+") as log,
        subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True) as process,
    ):
        try:
            address = f"http://127.0.0.1:{port}"
            deadline = time.monotonic() + patience_s
            while not _answers(address + path, body):
                ended = process.poll()
                if ended is not None or time.monotonic() > deadline:
                    log.seek(0)
                    state = "does not answer" if ended is None else f"ended with {ended}"
                    sys.exit(f"{' '.join(command)} {state}:\n{log.read()}")
                time.sleep(0.05)
            yield address
        finally:
            _end(process)


@contextlib.contextmanager
def _exit_when_terminated() -> Iterator[None]:
    """SIGTERM ends us as Ctrl-C does, by way of what stops the server: it does not end with us, or not all of it."""
    if threading.current_thread() is not threading.main_thread():
        yield  # where signals cannot be handled
        return
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _end(process: "subprocess.Popen[bytes]", patience_s: float = 20) -> None:
    """Tell a server to end, and kill what it leaves behind: workers that nobody has told, or that do not listen.

    All of them are of the session that was started with it, whatever groups they have made since.
    """
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(patience_s)
    for number in (signal.SIGTERM, signal.SIGKILL):
        ends = time.monotonic() + 5
        for member in _session(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(member, number)
        while _session(process.pid) and time.monotonic() < ends:
            process.poll()  # which buries it
            time.sleep(0.05)


def _session(leader: int) -> list[int]:
    """The processes of a session that still run."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            state, _, _, session = entry.read_text().rpartition(")")[2].split()[:4]
            if int(session) == leader and state != "Z":
                found.append(int(entry.parent.name))
    return found


def _answers(address: str, body: Any) -> bool:
    request = urllib.request.Request(address, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with direct.open(request, timeout=10) as response:
            return bool(response.status == 200)
    except (OSError, http.client.HTTPException):
        return False


def load(address: str, bodies: Path, connections: int, seconds: int, path: str = "/predict") -> dict[str, float]:
    """Post the bodies of a file, one a line, with wrk.

    Returns requests, failed, seconds, rate (of what did not fail, 1/s), p50, p95, p99 (ms).
    """
    threads = "1" if connections == 1 else "2"
    done = subprocess.run(
        ["wrk", "-t", threads, "-c", str(connections), "-d", f"{seconds}s", "-s",
         str(Path(__file__).with_name("wrk.lua")), f"{address}{path}"],
        env=os.environ | {"BODIES": str(bodies)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found | {"rate": (found["requests"] - found["failed"]) / found["seconds"]}


def median(rounds: list[dict[str, float]], figure: str) -> float:
    """The median of a figure over rounds."""
    return statistics.median(found[figure] for found in rounds)
