"""Closed-loop load: a fixed number of connections, each with one request at a time."""

import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_SCRIPT = Path(__file__).with_name("wrk.lua")


def require_wrk() -> None:
    """Exit with a message if wrk is not installed."""
    if shutil.which("wrk") is None:
        sys.exit("wrk is required: apt-get install wrk")


def write_bodies(file: Path, bodies: Iterable[Any]) -> Path:
    """Write one JSON body per line, the format that `run_wrk` reads."""
    file.write_text("".join(json.dumps(body) + "\n" for body in bodies))
    return file


def run_wrk(address: str, bodies: Path, connections: int, seconds: int, path: str = "/predict") -> dict[str, float]:
    """POST the bodies of a file, in order, and start again from the first one at the end.

    Returns requests, failed, seconds, rate (successful requests per second), p50_ms, p95_ms and p99_ms.
    """
    threads = "1" if connections == 1 else "2"
    duration = f"{seconds}s"
    done = subprocess.run(
        ["wrk", "-t", threads, "-c", str(connections), "-d", duration, "-s", str(_SCRIPT), f"{address}{path}"],
        env=os.environ | {"BODIES": str(bodies)},
        capture_output=True,
        text=True,
        check=True,
    )
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures | {"rate": (figures["requests"] - figures["failed"]) / figures["seconds"]}


def median(rounds: Iterable[dict[str, float]], figure: str) -> float:
    return statistics.median(figures[figure] for figures in rounds)
