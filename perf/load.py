"""Servers to measure, and the load on them: shared by the benchmarks."""

import contextlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent


def wrk_or_exit() -> None:
    """End with a message where the load generator is missing."""
    if shutil.which("wrk") is None:
        sys.exit("wrk is needed: apt-get install wrk")


@contextlib.contextmanager
def running(command: list[str]) -> Iterator[str]:
    """Start a server, with a free port as its last argument; yield its address once it answers; stop it."""
    quiet = subprocess.DEVNULL
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with subprocess.Popen([*command, str(port)], cwd=ROOT, stdout=quiet, stderr=quiet) as process:
        address = f"http://127.0.0.1:{port}"
        try:
            _wait_for_answer(address)
            yield address
        finally:
            process.terminate()


def _wait_for_answer(address: str) -> None:
    request = urllib.request.Request(
        f"{address}/predict", json.dumps({"text": "good"}).encode(), {"Content-Type": "application/json"}
    )
    for _ in range(600):
        try:
            with urllib.request.urlopen(request) as response:
                assert response.status == 200
            return
        except OSError:
            time.sleep(0.05)
    raise TimeoutError(f"no answer from {address}")


def load(address: str, bodies: Path, connections: int, seconds: int) -> dict[str, float]:
    """Post the bodies of a file, one a line, with wrk; requests, failed, seconds, rate (1/s), p50, p95, p99 (ms)."""
    threads = "1" if connections == 1 else "2"
    done = subprocess.run(
        ["wrk", "-t", threads, "-c", str(connections), "-d", f"{seconds}s", "-s", str(ROOT / "perf" / "wrk.lua"),
         f"{address}/predict"],
        env=os.environ | {"BODIES": str(bodies)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found | {"rate": found["requests"] / found["seconds"]}


def median(rounds: list[dict[str, float]], figure: str) -> float:
    """The median of a figure over rounds."""
    return statistics.median(found[figure] for found in rounds)
