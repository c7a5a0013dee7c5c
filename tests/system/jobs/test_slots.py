"""A worker that runs several jobs at a time."""

import os
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from nginx.process import free_port
from tests.integration.jobs.test_monitor import figures
from tests.support.jobs import (
    ROWS,
    SLOW,
    SMALL_PARTS,
    VERY_SLOW,
    WINDOW,
    JobsClient,
    Worker,
    csv_of,
    wait_for_rows,
    worker,
)
from tests.support.process import Server, serve
from tests.support.redis import redis
from tests.support.waiting import until
from tests.system.jobs.test_faults import check_rows

SOON = "import app.jobs.slots\napp.jobs.slots._PAUSE_S = 0.1"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict[str, str], Server]]:
    port = free_port()
    folder = tmp_path_factory.mktemp("slots")
    settings = {"redis_url": f"redis://127.0.0.1:{port}", "job_store": str(folder / "store")}
    with redis(port), serve(backend="mock", **settings) as server:
        yield settings, server


@pytest.fixture
def client(stack: tuple[dict[str, str], Server]) -> Iterator[JobsClient]:
    with closing(JobsClient(stack[1])) as client:
        until(lambda: client.http.get("/jobs").status_code == 200)
        yield client


def slots(running: Worker) -> list[int]:
    file = Path(f"/proc/{running.process.pid}/task/{running.process.pid}/children")
    return [int(each) for each in file.read_text().split()]


def test_jobs_run_at_a_time_and_are_handed_back_at_the_end(
    stack: tuple[dict[str, str], Server], client: JobsClient
) -> None:
    settings, _ = stack
    monitor = free_port()
    job_ids = [client.upload(csv_of(ROWS)) for _ in range(3)]
    with worker("--slots", "2", prelude=SMALL_PARTS, worker_port=str(monitor), **settings, **VERY_SLOW) as running:
        for job_id in job_ids[:2]:
            wait_for_rows(client, job_id, WINDOW)
        assert [client.job(job_id)["status"] for job_id in job_ids] == ["running", "running", "pending"]
        found = figures(monitor)
        assert (found["sentiment_jobs_workers"], found["sentiment_jobs_running"]) == (2, 2)
        running.terminate()
        assert running.wait() == 0
        assert [(job["status"], job["attempts"]) for job in map(client.job, job_ids)] == [("pending", 0)] * 3
    with worker("--slots", "3", prelude=SMALL_PARTS, **settings):
        for job_id in job_ids:
            assert client.wait(job_id)["attempts"] == 1
            check_rows(client, job_id)


def test_a_slot_that_is_killed_is_replaced_and_the_other_goes_on(
    stack: tuple[dict[str, str], Server], client: JobsClient
) -> None:
    settings, _ = stack
    job_ids = [client.upload(csv_of(ROWS)) for _ in range(2)]
    with worker("--slots", "2", prelude=f"{SMALL_PARTS}\n{SOON}", **settings, **SLOW) as running:
        for job_id in job_ids:
            wait_for_rows(client, job_id, WINDOW)
        os.kill(slots(running)[0], signal.SIGKILL)
        assert running.wait_for("slot ended")["status"] == -9
        for job_id in job_ids:
            assert client.wait(job_id)["status"] == "completed"
            check_rows(client, job_id)
        assert sorted(client.job(job_id)["attempts"] for job_id in job_ids) == [1, 1]  # the job was handed back
        assert len(slots(running)) == 2


def test_slots_whose_worker_is_killed_hand_their_jobs_back(
    stack: tuple[dict[str, str], Server], client: JobsClient
) -> None:
    settings, _ = stack
    job_ids = [client.upload(csv_of(ROWS)) for _ in range(2)]
    with worker("--slots", "2", prelude=SMALL_PARTS, **settings, **VERY_SLOW) as running:
        for job_id in job_ids:
            wait_for_rows(client, job_id, WINDOW)
        left = slots(running)
        os.kill(running.process.pid, signal.SIGKILL)
        running.wait()
        for job_id in job_ids:
            assert client.wait(job_id, "pending")["attempts"] == 0
        until(lambda: not any(Path(f"/proc/{process}").exists() for process in left))
    with worker("--slots", "2", prelude=SMALL_PARTS, **settings):
        for job_id in job_ids:
            client.wait(job_id)
            check_rows(client, job_id)
