"""Servers to measure, and the load on them: shared by the benchmarks."""

import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from nginx.process import free_port

ROOT = Path(__file__).parent.parent


def wrk_or_exit() -> None:
    """End with a message where the load generator is missing."""
    if shutil.which("wrk") is None:
        sys.exit("wrk is needed: apt-get install wrk")


@contextlib.contextmanager
def running(command: list[str]) -> Iterator[str]:
    """Start a server, with a free port as its last argument; yield its address once it answers; stop it.

    Ends the process with what the server wrote when the server ends before it answers.
    """
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    environment = os.environ | {"ORT_DISABLE_TELEMETRY": "1"}
    with (
        tempfile.TemporaryFile("w+") as log,
        subprocess.Popen([*command, str(port)], cwd=ROOT, env=environment, stdout=log, stderr=log) as process,
    ):
        try:
            while not _answers(address):
                if process.poll() is not None:
                    log.seek(0)
                    sys.exit(f"{' '.join(command)} ended with {process.returncode}:\n{log.read()}")
                time.sleep(0.05)
            yield address
        finally:
            process.terminate()


def _answers(address: str) -> bool:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(
        f"{address}/predict", json.dumps({"text": "good"}).encode(), {"Content-Type": "application/json"}
    )
    try:
        with direct.open(request) as response:
            return bool(response.status == 200)
    except OSError:
        return False


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
