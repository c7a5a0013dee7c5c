"""A worker in a process of its own, and a client of the routes of jobs."""

import contextlib
import json
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from nginx.process import free_port
from tests.support import forks
from tests.support.process import ROOT, Server, clean_environment, serve
from tests.support.redis import redis
from tests.support.waiting import until

# Workers of tests notice within a second what takes real ones some seconds, and do not give way to other tests.
_FAST = """
import app.jobs.lease, app.jobs.priority, app.jobs.process, app.jobs.records, app.jobs.sweep, app.jobs.transitions
app.jobs.priority.NICENESS = 0
app.jobs.records.LEASE_S, app.jobs.lease._BEAT_EVERY_S = 2, 0.2
app.jobs.sweep.EVERY_S = app.jobs.process.EVERY_S = app.jobs.process._BEAT_EVERY_S = 1
app.jobs.process._TTL_S, app.jobs.process._LONGEST_PAUSE_S = 16, 1
app.jobs.sweep._NOT_DELIVERED_S, app.jobs.transitions._FIRST_PAUSE_S = 1, 0.5
"""

_IMPORTS = ("app.cli.worker", "app.cli.scorer", "app.jobs.worker", "app.jobs.monitor", "app.tables", "rq")

ROWS, WINDOW = 400, 20
# Small parts that take a moment each, so that there is a middle of a job.
SLOW = {"mock_delay_ms": "60", "slots": "1"}
VERY_SLOW = SLOW | {"mock_delay_ms": "500"}  # the job does not end while its test looks at it
SMALL_PARTS = f"import app.tables.scoring as scoring\nscoring._WINDOW = scoring.Window(rows={WINDOW})"
# A worker whose model kills its process at a certain text.
LETHAL = f"""{SMALL_PARTS}
import os
from app.tables import ModelScorer
score = ModelScorer.score
def lethal(self, texts):
    if any("lethal" in text for text in texts):
        os.kill(os.getpid(), 9)
    return score(self, texts)
ModelScorer.score = lethal"""


class Worker(Server):
    """A running `rt-sentiment worker` and its log."""

    @property
    def child(self) -> int:
        """The process that runs the job."""
        file = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return int(until(file.read_text).split()[0])


@contextlib.contextmanager
def worker(
    *flags: str, prelude: str = "", wait: bool = True, environment: Mapping[str, str] | None = None, **settings: str
) -> Iterator[Worker]:
    """Start a worker, wait until it is there, and stop it at the end."""
    command = f"{_FAST}\n{prelude}\nfrom app.cli import main\nmain()"
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with log.open("wb") as stream:
            args = ["worker", "--log-format", "json", *flags]
            variables = clean_environment(**{"backend": "mock"} | settings) | dict(environment or {})
            process = forks.start(_IMPORTS, command, args, ROOT, variables, stream)
        running = Worker(process, log)
        try:
            if wait:
                running.wait_for("worker started")
            yield running
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(60)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


@dataclass
class Stack:
    """A Redis, a service and a worker, which share a store."""

    settings: dict[str, str]
    server: Server
    worker: Worker
    folder: Path
    sources: Path


@contextlib.contextmanager
def running_stack(folder: Path, *, prelude: str = "", slow: bool = False, **more: str) -> Iterator[Stack]:
    """Start all three. The worker may read below `folder/in`. `more` are further settings of the service."""
    port = free_port()
    (folder / "in").mkdir()
    settings = {
        "redis_url": f"redis://127.0.0.1:{port}",
        "job_store": str(folder / "store"),
        "job_sources": f"file://{folder}/in",
        "job_max_open": "20",
        "job_max_upload_bytes": "200000",
    }
    for_worker = settings | ({"mock_delay_ms": "60", "slots": "1"} if slow else {})
    with (
        redis(port),
        serve(backend="mock", **settings, **more) as server,
        worker(prelude=prelude, **for_worker) as running,
    ):
        yield Stack(settings, server, running, folder, folder / "in")


class JobsClient:
    """Calls the routes of jobs as a caller does."""

    route = "/jobs/inference"

    def __init__(self, server: Server, *, kind: str = "inference", **headers: str) -> None:
        self.route = f"/jobs/{kind}"
        self.http = server.client(headers=headers)

    def close(self) -> None:
        self.http.close()

    def submit(self, body: Mapping[str, Any] | None = None, **options: Any) -> str:
        """Send a job, and return its id."""
        response = self.http.post(self.route, json=body, **options)
        assert response.status_code == 202, response.text
        job_id: str = response.json()["id"]
        return job_id

    def upload(self, content: bytes, name: str = "in.csv", /, **fields: str) -> str:
        response = self.http.post(self.route, files={"file": (name, content)}, data=fields)
        assert response.status_code == 202, response.text
        job_id: str = response.json()["id"]
        return job_id

    def job(self, job_id: str) -> dict[str, Any]:
        response = self.http.get(f"/jobs/{job_id}")
        assert response.status_code == 200, response.text
        job: dict[str, Any] = response.json()
        return job

    def wait(self, job_id: str, *statuses: str) -> dict[str, Any]:
        """Wait until a job has one of these statuses, or is over."""
        over = statuses or ("completed", "failed", "cancelled")
        job = until(
            lambda: (found := self.job(job_id))["status"] in over and found,
            on_timeout=lambda: f"still {self.job(job_id)}",
        )
        assert isinstance(job, dict)
        return job

    def result(self, job_id: str, form: str = "ndjson") -> httpx.Response:
        return self.http.get(f"/jobs/{job_id}/result", params={"format": form})

    def rows(self, job_id: str) -> list[dict[str, Any]]:
        response = self.result(job_id)
        assert response.status_code == 200, response.text
        return [json.loads(line) for line in response.text.split("\n") if line]


def csv_of(rows: int) -> bytes:
    """Rows whose label is known: every third one is bad."""
    lines = (f'{number},"it is {"good" if number % 3 else "bad"}, {number}"\n' for number in range(rows))
    return ("id,text\n" + "".join(lines)).encode()


def wait_for_rows(client: JobsClient, job_id: str, rows: int) -> None:
    until(lambda: client.job(job_id)["progress"]["done"] >= rows, on_timeout=lambda: str(client.job(job_id)))
