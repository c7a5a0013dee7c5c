"""`python -m perf.profile.ray`: Ray beside what the project has for one machine, in turns.

Requests: two replicas of Ray Serve, and two behind nginx (`make replicas`). Both run at once and get load in turns.
Beside the rate it prints the processor time of all their processes for each request, which depends little on what else
the machine does. Files: `deploy.ray.score` and `rt-sentiment score`.
"""

import argparse
import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from statistics import median

import psutil

from perf.load.server import ROOT, running
from perf.load.texts import sentences
from perf.load.wrk import require_wrk, run_wrk, write_bodies

_RAY = ROOT / ".venv-ray" / "bin" / "python"
_SERVE = [_RAY, "-m", "deploy.ray.serve", "--min-replicas", "2", "--max-replicas", "2"]


def main() -> None:
    """Measure, and print the medians and their ratio."""
    parser = argparse.ArgumentParser(prog="python -m perf.profile.ray", description=__doc__)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=int, default=6, help="duration of the load per server, kind and round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=2000, help="of the file that is scored; 0 for none")
    args = parser.parse_args()
    if not _RAY.exists():
        sys.exit("Ray is not installed: make .venv-ray/ray.stamp")
    require_wrk()
    with tempfile.TemporaryDirectory() as folder:
        _requests(Path(folder), args.connections, args.seconds, args.rounds)
        if args.rows:
            _files(Path(folder), args.rows, args.rounds)


def _requests(folder: Path, connections: int, seconds: int, rounds: int) -> None:
    rates: dict[tuple[str, str], list[float]] = {}
    costs: dict[tuple[str, str], list[float]] = {}
    with (
        running([sys.executable, "-m", "nginx.replicas", "--replicas", "2", "--port"]) as nginx,
        running(lambda port: ["env", f"SENTIMENT_PORT={port}", *map(str, _SERVE)]) as ray,
    ):
        cached = write_bodies(folder / "cached", _bodies(sentences(100)))
        for address in (nginx, ray):
            run_wrk(address, cached, connections, seconds=2)  # fills the caches
        for turn in range(rounds):
            new = write_bodies(folder / f"new {turn}", _bodies(f"{text} {turn}" for text in sentences(20_000)))
            for kind, bodies in (("cached", cached), ("new", new)):
                for name, address in (("nginx", nginx), ("ray", ray)):
                    before_s = _processor_s(name)
                    figures = run_wrk(address, bodies, connections, seconds)
                    spent_s = _processor_s(name) - before_s
                    costs.setdefault((kind, name), []).append(1000 * spent_s / figures["requests"])
                    if figures["failed"]:
                        print(f"{name}, {kind} texts: {figures['failed']:.0f} requests failed")
                    rates.setdefault((kind, name), []).append(figures["rate"])
    for kind in ("cached", "new"):
        _print(f"{kind} texts, requests/s", rates[kind, "nginx"], rates[kind, "ray"])
        _print(f"{kind} texts, ms of a processor per request", costs[kind, "nginx"], costs[kind, "ray"])


def _processor_s(name: str) -> float:
    """Return the processor time of all processes of a server: a child of this process, and what is below it."""
    module = {"nginx": "nginx.replicas", "ray": "deploy.ray.serve"}[name]
    (server,) = [child for child in psutil.Process().children() if module in child.cmdline()]
    total = 0.0
    for process in [server, *server.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system
    return total


def _files(folder: Path, rows: int, rounds: int) -> None:
    source = folder / "texts.txt"
    source.write_text("".join(f"{text}\n" for text in sentences(rows)))
    commands = {
        "here": [sys.executable, "-m", "app", "score", source, "-q", "--force", "-o", folder / "here.jsonl"],
        "ray": [_RAY, "-m", "deploy.ray.score", source, "-q", "--force", "-o", folder / "ray"],
    }
    rates: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            begun_s = time.monotonic()
            subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
            rates[name].append(rows / (time.monotonic() - begun_s))
    _print(f"{rows:,} rows with the start, rows/s", rates["here"], rates["ray"])


def _bodies(texts: Iterable[str]) -> Iterable[dict[str, str]]:
    return ({"text": text} for text in texts)


def _print(what: str, without: list[float], with_ray: list[float]) -> None:
    ratios = [ray / other for ray, other in zip(with_ray, without, strict=True)]
    print(
        f"{what}: {median(without):,.3g} without Ray, {median(with_ray):,.3g} with it; "
        f"ratio {median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
        flush=True,
    )


if __name__ == "__main__":
    main()
