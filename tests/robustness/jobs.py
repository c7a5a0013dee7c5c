"""`make jobs-faults`: one job of many rows, while its worker is killed five times and Redis once.

The result must equal what `rt-sentiment score` writes for the same file, byte for byte. Reports the time of each
recovery, and the memory of the process that runs the job.
"""

import argparse
import csv
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from nginx.process import free_port
from tests.robustness.resume import rows_of
from tests.support.jobs import JobsClient
from tests.support.process import ROOT, clean_environment, serve
from tests.support.redis import redis
from tests.support.waiting import until

_KILLS = 5


def main() -> int:
    """Run it, and return whether a row was lost, doubled or changed."""
    parser = argparse.ArgumentParser(prog="jobs")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--backend", default="auto")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return run(Path(folder), args.rows, args.backend)


def run(folder: Path, rows: int, backend: str) -> int:
    port = free_port()
    settings = {"redis_url": f"redis://127.0.0.1:{port}", "job_store": str(folder / "store"), "backend": backend}
    file = folder / "in.csv"
    with file.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(rows_of(rows, random.Random(11)))
    memory_mb: list[float] = []
    recoveries_s: list[float] = []
    with serve(**settings | {"backend": "mock"}) as server, redis_process(port, folder) as database:
        client = JobsClient(server)
        with closing(client.http):
            begun_s = time.monotonic()
            job_id = client.upload(file.read_bytes(), text_column="body")
            submitted_s = time.monotonic() - begun_s
            process = start_worker(settings)
            try:
                for kill in range(1, _KILLS + 1):
                    wait_for(client, job_id, kill * rows // (_KILLS + 2), memory_mb, process)
                    kill_all(process)
                    killed_s, before = time.monotonic(), done(client, job_id)
                    process = start_worker(settings)
                    until(lambda known=before: done(client, job_id) > known)
                    recoveries_s.append(time.monotonic() - killed_s)
                    print(f"killed after {before:,} rows, more after {recoveries_s[-1]:.1f} s", flush=True)
                wait_for(client, job_id, rows * 6 // 7, memory_mb, process)
                database.restart()
                print("Redis restarted", flush=True)
                job = wait_for(client, job_id, rows, memory_mb, process, over=True)
            finally:
                kill_all(process)
            (folder / "job.csv").write_bytes(client.result(job_id, "csv").content)
    command = [
        sys.executable,
        "-m",
        "app",
        "score",
        file,
        "-c",
        "body",
        "-o",
        folder / "score.csv",
        "-q",
        "--backend",
        backend,
    ]
    scored = subprocess.run(command, cwd=ROOT, env=clean_environment(), check=False)
    assert scored.returncode == 3  # some texts are blank
    is_equal = (folder / "job.csv").read_bytes() == (folder / "score.csv").read_bytes()
    print(f"{rows:,} rows, attempts {job['attempts']}, submitted in {submitted_s:.2f} s")
    print(f"recovery: {min(recoveries_s):.1f} to {max(recoveries_s):.1f} s until the next rows")
    print(f"memory of the job's process: {min(memory_mb):.0f} to {max(memory_mb):.0f} MB")
    print("the result is that of `rt-sentiment score`" if is_equal else "THE RESULT DIFFERS from `rt-sentiment score`")
    return int(not is_equal)


class Database:
    """A Redis that can be restarted."""

    def __init__(self, port: int, folder: Path) -> None:
        self._port, self._folder = port, folder
        self._context = redis(port, folder=folder)
        self._context.__enter__()

    def restart(self) -> None:
        self.end()
        self._context = redis(self._port, folder=self._folder)
        self._context.__enter__()

    def end(self) -> None:
        self._context.__exit__(None, None, None)


@contextmanager
def redis_process(port: int, folder: Path) -> Iterator[Database]:
    database = Database(port, folder)
    try:
        yield database
    finally:
        database.end()


def start_worker(settings: dict[str, str]) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "app", "worker", "--log-level", "error"]
    return subprocess.Popen(command, cwd=ROOT, env=clean_environment(**settings))


def children(process: "subprocess.Popen[bytes]") -> list[int]:
    try:
        return [*map(int, Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split())]
    except OSError:
        return []


def kill_all(process: "subprocess.Popen[bytes]") -> None:
    """Kill a worker and its child so that neither can say anything."""
    for pid in (process.pid, *children(process)):
        os.kill(pid, signal.SIGKILL)
    process.wait()


def done(client: JobsClient, job_id: str) -> int:
    return int(client.job(job_id)["progress"]["done"])


def wait_for(
    client: JobsClient,
    job_id: str,
    rows: int,
    memory_mb: list[float],
    process: "subprocess.Popen[bytes]",
    *,
    over: bool = False,
) -> dict[str, Any]:
    """Wait until so many rows are done, or until the job is over, and note the memory of its process meanwhile."""
    while True:
        response = client.http.get(f"/jobs/{job_id}")
        if response.status_code == 200:  # 503 while Redis starts
            job: dict[str, Any] = response.json()
            assert job["status"] not in ("failed", "cancelled"), job["error"]
            if job["status"] == "completed" or (not over and job["progress"]["done"] >= rows):
                return job
        for pid in children(process):
            status = Path(f"/proc/{pid}/status")
            if status.exists() and (line := [each for each in status.read_text().splitlines() if "VmRSS" in each]):
                memory_mb.append(int(line[0].split()[1]) / 1024)
        time.sleep(0.2)


if __name__ == "__main__":
    sys.exit(main())
