"""Start a server for a benchmark, wait until it answers, and stop it together with all of its processes."""

import contextlib
import http.client
import json
import os
import signal
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
# One event loop cannot keep more than four cores busy: servers and load generators get one process per four cores.
PROCESSES = max(1, usable_cores() // 4)

# Ignores the proxy settings of the environment.
direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@contextlib.contextmanager
def running(
    command: Sequence[str] | Callable[[int], Sequence[str]],
    *,
    path: str = "/predict",
    body: Any = None,
    environment: Mapping[str, str] | None = None,
    patience_s: float = 180,
) -> Iterator[str]:
    """Run a server and yield its address.

    A free port is appended to the command; a callable gets the port and returns the command. The server counts as
    started when it answers a POST of `body` to `path` with 200. If it exits before that, or takes longer than
    `patience_s`, the benchmark exits with the output of the server.
    """
    port = free_port()
    command = command(port) if callable(command) else [*command, str(port)]
    body = {"text": "good"} if body is None else body
    environment = os.environ | {"ORT_DISABLE_TELEMETRY": "1"} | (environment or {})
    with (
        _exit_on_sigterm(),
        tempfile.TemporaryFile("w+") as log,
        subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True) as process,
    ):
        try:
            address = f"http://127.0.0.1:{port}"
            deadline = time.monotonic() + patience_s
            while not _answers(address + path, body):
                exit_code = process.poll()
                if exit_code is not None or time.monotonic() > deadline:
                    log.seek(0)
                    state = "does not answer" if exit_code is None else f"exited with {exit_code}"
                    sys.exit(f"{' '.join(command)} {state}:\n{log.read()}")
                time.sleep(0.05)
            yield address
        finally:
            _stop(process)


@contextlib.contextmanager
def _exit_on_sigterm() -> Iterator[None]:
    """Let SIGTERM end the benchmark as Ctrl-C does, so that the server is stopped: it has a session of its own."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Python handles signals in the main thread only
        return
    previous = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _stop(process: "subprocess.Popen[bytes]", patience_s: float = 20) -> None:
    """Terminate a server, then kill what is left of it, such as workers that ignore SIGTERM.

    A worker may have changed its process group, but it still belongs to the session of the server.
    """
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(patience_s)
    for number in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + 5
        for pid in _pids_in_session(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        while _pids_in_session(process.pid) and time.monotonic() < deadline:
            process.poll()  # collects the exit status, otherwise the process stays as a zombie
            time.sleep(0.05)


def _pids_in_session(leader: int) -> list[int]:
    pids = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # the process has just exited
            state, _, _, session = entry.read_text().rpartition(")")[2].split()[:4]
            if int(session) == leader and state != "Z":
                pids.append(int(entry.parent.name))
    return pids


def _answers(address: str, body: Any) -> bool:
    request = urllib.request.Request(address, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with direct.open(request, timeout=10) as response:
            return bool(response.status == 200)
    except (OSError, http.client.HTTPException):
        return False
