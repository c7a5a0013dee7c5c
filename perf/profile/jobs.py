"""`python -m perf.profile.jobs`: what background jobs cost the service, and how fast they are.

Starts a Redis, a service and a worker. Prints how long it takes to submit a job and to see its first progress, the p99
latency of the service at a constant rate with and without a job beside it, in turns, and the rows per second of a job,
relative to `rt-sentiment score` with the same file, in turns.
"""

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from perf.load.openloop import Phase, offer
from perf.load.redis import running_redis
from perf.load.server import ROOT, direct, running
from perf.load.texts import sentences

_ROWS_BESIDE = 60_000  # of the job that runs beside the service: more than it can score meanwhile


def main() -> None:
    """Measure all three."""
    parser = argparse.ArgumentParser(prog="python -m perf.profile.jobs", description=__doc__)
    parser.add_argument("--jobs", type=int, default=200, help="that are submitted, of one text each")
    parser.add_argument("--rate", type=float, default=60, help="requests per second to the service")
    parser.add_argument("--seconds", type=float, default=15, help="of each side in a round")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--rows", type=int, default=20_000, help="of the job that is compared with score")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, running_redis("--appendonly", "yes") as redis_url:
        folder = Path(name)
        settings = {
            "SENTIMENT_REDIS_URL": redis_url,
            "SENTIMENT_JOB_STORE": str(folder / "store"),
            "SENTIMENT_JOB_MAX_OPEN": "10000",
            "SENTIMENT_LOG_LEVEL": "warning",
            "SENTIMENT_CACHE_ENTRIES": "0",
        }
        serve = [sys.executable, "-m", "app", "serve", "--port"]
        with running(serve, environment=settings) as address, _worker(settings):
            _wait(address, _submit(address, ["good"]))  # the worker has its model now
            _measure_times(address, args.jobs)
            _measure_latency(address, args.rate, args.seconds, args.rounds)
            _measure_rate(address, folder, args.rows, args.rounds)


def _measure_times(address: str, jobs: int) -> None:
    submit_ms, progress_ms = [], []
    for number in range(jobs):
        begun_s = time.perf_counter()
        job = _submit(address, [f"a good day {number}"])
        submit_ms.append((time.perf_counter() - begun_s) * 1000)
        for event in _events(address, job):
            if event["status"] != "pending":
                progress_ms.append((time.perf_counter() - begun_s) * 1000)
                break
        _wait(address, job)
    for name, values in (("submit", submit_ms), ("first event of progress", progress_ms)):
        print(f"{name}: p50 {np.percentile(values, 50):.1f} ms, p99 {np.percentile(values, 99):.1f} ms", flush=True)


def _measure_latency(address: str, rate: float, seconds: float, rounds: int) -> None:
    bodies = [json.dumps({"text": text}).encode() for text in sentences(int(rate * seconds))]
    figures: dict[bool, list[float]] = {False: [], True: []}
    for number in range(rounds):
        for beside in (False, True) if number % 2 == 0 else (True, False):
            job = _submit_rows(address, _ROWS_BESIDE) if beside else None
            if job:
                _wait(address, job, until_done=1)
            sample = offer(address, bodies, [Phase(rate, seconds)], seed=number)
            if job:
                _request("DELETE", f"{address}/jobs/{job}")
                _wait(address, job)
            assert set(sample.status) == {200}, set(sample.status)
            figures[beside].append(sample.percentile(99))
            side = "beside a job" if beside else "alone"
            print(f"{side:13} p50 {sample.percentile(50):6.1f} ms  p99 {figures[beside][-1]:6.1f} ms", flush=True)
    ratios = [beside / alone for alone, beside in zip(figures[False], figures[True], strict=True)]
    print(f"p99 beside a job / alone: {_shown(ratios)}", flush=True)


def _measure_rate(address: str, folder: Path, rows: int, rounds: int) -> None:
    file = folder / "in.csv"
    with file.open("w", newline="") as stream:
        csv.writer(stream).writerows([("id", "text"), *enumerate(sentences(rows))])
    ratios = []
    for number in range(rounds):
        sides = {"job": lambda: _job_rate(address, rows), "score": lambda: _score_rate(file)}
        rates = {name: sides[name]() for name in (sides if number % 2 == 0 else reversed(sides))}
        ratios.append(rates["job"] / rates["score"])
        print(f"job {rates['job']:,.0f} rows/s  score {rates['score']:,.0f} rows/s", flush=True)
    print(f"rows/s of a job / score: {_shown(ratios)}")


def _shown(ratios: Sequence[float]) -> str:
    return f"median {statistics.median(ratios):.2f} ({', '.join(f'{each:.2f}' for each in ratios)})"


def _job_rate(address: str, rows: int) -> float:
    """Return the rows per second of a job from its start to its end, as the worker states them."""
    job = _wait(address, _submit_rows(address, rows))
    begun_s, ended_s = (_seconds(job[key]) for key in ("started_at", "finished_at"))
    return rows / (ended_s - begun_s)


def _score_rate(file: Path) -> float:
    command = [sys.executable, "-m", "app", "score", file, "-c", "text", "-o", file.with_name("out.csv"), "--force"]
    done = subprocess.run([*command, "--json"], cwd=ROOT, capture_output=True, check=True)
    return float(json.loads(done.stdout)["rows_per_s"])


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


def _submit(address: str, texts: list[str]) -> str:
    return str(_request("POST", f"{address}/jobs/inference", {"texts": texts})["id"])


_numbers = count()


def _submit_rows(address: str, rows: int) -> str:
    """Upload sentences as a file."""
    lines = "\n".join(("text", *(text.replace('"', "").join('""') for text in sentences(rows))))
    mark = f"boundary{next(_numbers)}"
    parts = f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="in.csv"\r\n\r\n{lines}\r\n'
    request = urllib.request.Request(f"{address}/jobs/inference", f"{parts}--{mark}--\r\n".encode())
    request.add_header("Content-Type", f"multipart/form-data; boundary={mark}")
    with direct.open(request, timeout=60) as response:
        return str(json.load(response)["id"])


def _request(method: str, url: str, body: object = None) -> dict[str, Any]:
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, content, {"Content-Type": "application/json"}, method=method)
    with direct.open(request, timeout=60) as response:
        text = response.read()
    return dict(json.loads(text)) if text else {}


def _events(address: str, job: str) -> Iterator[dict[str, Any]]:
    with direct.open(f"{address}/jobs/{job}/events", timeout=60) as response:
        for line in response:
            if line.startswith(b"data:"):
                yield json.loads(line[5:])


def _wait(address: str, job: str, until_done: int | None = None) -> dict[str, Any]:
    """Wait until a job is over, or has so many rows."""
    while True:
        state = _request("GET", f"{address}/jobs/{job}")
        if state["status"] in {"completed", "failed", "cancelled"}:
            return state
        if until_done and (state["progress"] or {}).get("done", 0) >= until_done:
            return state
        time.sleep(0.05)


@contextmanager
def _worker(settings: Mapping[str, str]) -> Iterator[None]:
    with subprocess.Popen([sys.executable, "-m", "app", "worker"], cwd=ROOT, env=os.environ | settings) as process:
        try:
            yield
        finally:
            process.terminate()


if __name__ == "__main__":
    main()
