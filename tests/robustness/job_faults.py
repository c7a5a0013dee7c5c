"""Faults while a background job runs beside clients that send requests. Each row of the job counts as one, too."""

import asyncio
import os
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from nginx.process import free_port
from tests.robustness.fault import Outcome, fault, outcome
from tests.robustness.jobs import Database, redis_process
from tests.support.jobs import LETHAL, ROWS, SLOW, SMALL_PARTS, WINDOW, JobsClient, csv_of, wait_for_rows, worker
from tests.support.process import serve
from tests.support.replicas import load
from tests.support.waiting import until

_FULL = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))"


class Stack:
    """A Redis, a service and a client; the faults start workers."""

    def __init__(self, client: JobsClient, database: Database, settings: dict[str, str]) -> None:
        self.client = client
        self.database = database
        self.settings = settings
        self.responses: Counter[str] = Counter()
        self.recovery_s: float | None = None

    def check(self, job_id: str, rows: int = ROWS) -> None:
        """Count the rows of a job that has to be complete."""
        job = self.client.wait(job_id)
        found = self.client.rows(job_id) if job["status"] == "completed" else []
        right = sum(
            int(row["id"]) == number and row["label"] == ("positive" if number % 3 else "negative")
            for number, row in enumerate(found)
        )
        self.responses["right"] += right
        if wrong := max(rows, len(found)) - right:
            self.responses["wrong: row"] += wrong

    @contextmanager
    def recovering(self, job_id: str) -> Iterator[None]:
        """Measure the time from the fault to the next rows."""
        before, started_s = int(self.client.job(job_id)["progress"]["done"]), time.monotonic()
        yield
        wait_for_rows(self.client, job_id, before + 1)
        self.recovery_s = round(time.monotonic() - started_s, 2)


def _beside_requests(title: str, cause: Callable[[Stack], None]) -> Outcome:
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        settings = {"redis_url": f"redis://127.0.0.1:{port}", "job_store": str(folder / "store")}
        with serve(backend="mock", **settings) as server, redis_process(port, folder) as database:
            client = JobsClient(server)
            with closing(client):
                until(lambda: client.http.get("/jobs").status_code == 200)
                stack = Stack(client, database, settings)
                responses = asyncio.run(load(server.address, lambda: cause(stack), connections=2))
            assert not server.events("unexpected error"), server.events("unexpected error")
    return outcome(title, responses + stack.responses, recovery_s=stack.recovery_s)


@fault
def the_worker_of_a_job_is_killed() -> Outcome:
    def kill(stack: Stack) -> None:
        job_id = stack.client.upload(csv_of(ROWS))
        with worker(prelude=SMALL_PARTS, **stack.settings, **SLOW) as first:
            wait_for_rows(stack.client, job_id, 2 * WINDOW)
            for process in (first.process.pid, first.child):
                os.kill(process, signal.SIGKILL)
            first.wait()
        with ExitStack() as later:
            with stack.recovering(job_id):
                later.enter_context(worker(prelude=SMALL_PARTS, **stack.settings))
            stack.check(job_id)

    return _beside_requests("the worker of a job is killed (SIGKILL)", kill)


@fault
def redis_is_killed_during_a_job() -> Outcome:
    def restart(stack: Stack) -> None:
        job_id = stack.client.upload(csv_of(ROWS))
        with worker(prelude=SMALL_PARTS, **stack.settings, **SLOW):
            wait_for_rows(stack.client, job_id, 2 * WINDOW)
            with stack.recovering(job_id):
                stack.database.restart()
                until(lambda: stack.client.http.get("/jobs").status_code == 200)
            stack.check(job_id)

    return _beside_requests("Redis is killed during a job and restarted", restart)


@fault
def the_disk_of_the_store_is_full() -> Outcome:
    def fill(stack: Stack) -> None:
        job_id = stack.client.upload(csv_of(ROWS))
        with worker(prelude=f"{SMALL_PARTS}\n{_FULL}", **stack.settings) as without_room:
            assert without_room.wait_for("job failed", job=job_id)
        with worker(prelude=SMALL_PARTS, **stack.settings):
            stack.check(job_id)

    return _beside_requests("the disk of the store is full", fill)


@fault
def a_job_kills_its_worker_each_time() -> Outcome:
    def kill(stack: Stack) -> None:
        with worker(prelude=LETHAL, **stack.settings):
            lethal = stack.client.upload(csv_of(WINDOW) + b"20,lethal\n")
            others = [stack.client.upload(csv_of(2 * WINDOW)) for _ in range(3)]
            status = stack.client.wait(lethal)["status"]
            assert status == "failed", status
            for job_id in others:
                stack.check(job_id, 2 * WINDOW)

    return _beside_requests("a job kills its process each time", kill)
