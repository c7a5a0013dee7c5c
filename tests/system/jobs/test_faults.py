"""Whatever fails while a job runs, it ends with each row scored once, in order, or says why not."""

import os
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import redis as redis_client

from app.jobs import JobOptions, Jobs
from app.jobs.queue import Queues
from app.jobs.records import Records
from nginx.process import free_port
from tests.support.jobs import (
    LETHAL,
    ROWS,
    SLOW,
    SMALL_PARTS,
    VERY_SLOW,
    WINDOW,
    JobsClient,
    csv_of,
    wait_for_rows,
    worker,
)
from tests.support.process import Server, serve
from tests.support.redis import redis
from tests.support.waiting import until

ANOTHER = f"""{SMALL_PARTS}
from app.tables import ModelScorer
init = ModelScorer.__init__
def another(self, *args):
    init(self, *args)
    self.description["model"] = "another"
ModelScorer.__init__ = another"""


class Stack:
    """A Redis that keeps its data, and a service; the tests start workers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.settings = {"redis_url": f"redis://127.0.0.1:{self.port}", "job_store": str(folder / "store")}
        self.server: Server


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    stack = Stack(tmp_path_factory.mktemp("faults"))
    with serve(backend="mock", **stack.settings) as stack.server:
        yield stack


@pytest.fixture
def client(stack: Stack) -> Iterator[JobsClient]:
    with redis(stack.port, folder=stack.folder):
        client = JobsClient(stack.server)
        try:
            until(lambda: client.http.get("/jobs").status_code == 200)
            yield client
        finally:
            client.http.close()


def check_rows(client: JobsClient, job_id: str, rows: int = ROWS) -> None:
    found = client.rows(job_id)
    assert [int(row["id"]) for row in found] == list(range(rows))
    assert all(row["label"] == ("positive" if int(row["id"]) % 3 else "negative") for row in found)


def begin(stack: Stack, client: JobsClient) -> str:
    """Send a job, and end its worker after a part of the rows."""
    job_id = client.upload(csv_of(ROWS))
    with worker(prelude=SMALL_PARTS, **stack.settings, **VERY_SLOW) as first:
        wait_for_rows(client, job_id, 2 * WINDOW)
        first.terminate()
        assert first.wait() == 0
    return job_id


def test_a_worker_killed_with_9_loses_and_doubles_nothing(stack: Stack, client: JobsClient) -> None:
    job_id = client.upload(csv_of(ROWS))
    with worker(prelude=SMALL_PARTS, **stack.settings, **VERY_SLOW) as first:
        for rows in (WINDOW, 4 * WINDOW):
            wait_for_rows(client, job_id, rows)
            child = first.child
            os.kill(child, signal.SIGKILL)  # its worker notices
            client.wait(job_id, "running", "pending")
            until(lambda old=child: first.child != old)
        wait_for_rows(client, job_id, 8 * WINDOW)
        child = first.child
        os.kill(child, signal.SIGSTOP)  # so that it does not notice the end of its worker
        os.kill(first.process.pid, signal.SIGKILL)
        os.kill(child, signal.SIGKILL)
        first.wait()
    with worker(prelude=SMALL_PARTS, **stack.settings) as second:
        assert client.wait(job_id)["attempts"] == 4
        assert second.wait_for("job lost", job=job_id)
    check_rows(client, job_id)


def test_a_process_whose_worker_is_gone_hands_its_job_back(stack: Stack, client: JobsClient) -> None:
    job_id = client.upload(csv_of(ROWS))
    with worker(prelude=SMALL_PARTS, **stack.settings, **VERY_SLOW) as first:
        wait_for_rows(client, job_id, WINDOW)
        os.kill(first.process.pid, signal.SIGKILL)
        first.wait()
        assert client.wait(job_id, "pending")["attempts"] == 0
    with worker(prelude=SMALL_PARTS, **stack.settings):
        client.wait(job_id)
    check_rows(client, job_id)


def test_a_worker_that_is_told_to_end_hands_its_job_to_the_next(stack: Stack, client: JobsClient) -> None:
    job_id = client.upload(csv_of(ROWS))
    with worker(prelude=SMALL_PARTS, **stack.settings, **VERY_SLOW) as first:
        wait_for_rows(client, job_id, 2 * WINDOW)
        first.terminate()
        assert first.wait() == 0
        job = client.job(job_id)
        assert (job["status"], job["attempts"]) == ("pending", 0)
        assert 0 < job["progress"]["done"] < ROWS
    with worker(prelude=SMALL_PARTS, **stack.settings):
        assert client.wait(job_id)["attempts"] == 1
    check_rows(client, job_id)


def test_a_restart_of_redis_loses_and_doubles_nothing(stack: Stack) -> None:
    client = JobsClient(stack.server)
    with worker(prelude=SMALL_PARTS, wait=False, **stack.settings, **SLOW) as running, closing(client.http):
        with redis(stack.port, folder=stack.folder):
            until(lambda: client.http.get("/jobs").status_code == 200)
            job_id = client.upload(csv_of(ROWS))
            wait_for_rows(client, job_id, 2 * WINDOW)
        refused = client.http.post("/jobs/inference", json={"texts": ["good"]})
        assert refused.status_code == 503
        assert "Redis cannot be reached" in refused.json()["detail"]
        assert client.http.post("/predict", json={"text": "good"}).status_code == 200
        with redis(stack.port, folder=stack.folder):
            until(lambda: client.http.get("/jobs").status_code == 200)
            assert client.wait(job_id)["status"] == "completed"
            check_rows(client, job_id)
            assert client.wait(client.submit({"texts": ["good"]}))["status"] == "completed"  # with the same worker
            assert running.process.poll() is None


def test_a_job_that_kills_its_process_each_time_fails_and_others_go_on(stack: Stack, client: JobsClient) -> None:
    with worker(prelude=LETHAL, **stack.settings):
        lethal = client.upload(csv_of(2 * WINDOW) + b"40,lethal\n")
        other = client.upload(csv_of(WINDOW))
        job = client.wait(lethal)
        assert (job["status"], job["attempts"]) == ("failed", 3)
        assert "the worker stopped" in job["error"]
        assert client.wait(other)["status"] == "completed"
        assert [job["id"] for job in client.http.get("/jobs?status=failed").json()["jobs"]] == [lethal]
    with worker(prelude=SMALL_PARTS, **stack.settings):  # a worker that can read the text
        assert client.http.post(f"/jobs/{lethal}/retry").json()["status"] == "pending"
        assert client.wait(lethal)["status"] == "completed"
        assert client.http.post(f"/jobs/{lethal}/retry").status_code == 409
    assert [int(row["id"]) for row in client.rows(lethal)] == list(range(2 * WINDOW + 1))


def test_a_full_disk_is_a_failure_that_passes(stack: Stack, client: JobsClient) -> None:
    full = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))"
    job_id = client.upload(csv_of(ROWS))
    with worker(prelude=f"{SMALL_PARTS}\n{full}", job_attempts="2", **stack.settings) as without_room:
        until(lambda: client.job(job_id)["error"])
        assert without_room.wait_for("job failed", job=job_id)
        assert client.job(job_id)["error"] == "the worker failed: File too large"
    with worker(prelude=SMALL_PARTS, **stack.settings):
        assert client.wait(job_id)["status"] == "completed"
    check_rows(client, job_id)


def test_a_job_that_is_delivered_twice_runs_once(stack: Stack, client: JobsClient) -> None:
    job_id = client.upload(csv_of(ROWS))
    database = redis_client.Redis.from_url(stack.settings["redis_url"])
    job = Records(database).get(job_id)
    assert job
    for _ in range(3):
        Queues(database).deliver(job)
    with (
        worker(prelude=SMALL_PARTS, **stack.settings, **SLOW),
        worker(prelude=SMALL_PARTS, **stack.settings, **SLOW),
    ):
        assert client.wait(job_id)["attempts"] == 1
    check_rows(client, job_id)
    database.close()


def test_a_delivery_that_is_lost_is_made_again(stack: Stack, client: JobsClient) -> None:
    job_id = client.submit({"texts": ["good"]})
    with redis_client.Redis.from_url(stack.settings["redis_url"]) as database:
        Queues(database).queue("normal").empty()
    with worker(**stack.settings):
        assert client.wait(job_id)["status"] == "completed"


def test_a_job_is_cancelled_before_it_begins(stack: Stack, client: JobsClient) -> None:
    job_id = client.submit({"texts": ["good"]})
    assert client.http.delete(f"/jobs/{job_id}").json()["status"] == "cancelled"
    with worker(**stack.settings):
        assert client.wait(client.submit({"texts": ["good"]}))["status"] == "completed"
    job = client.job(job_id)
    assert (job["status"], job["attempts"], job["started_at"]) == ("cancelled", 0, None)


def test_a_running_job_is_cancelled_and_its_worker_goes_on(stack: Stack, client: JobsClient) -> None:
    with worker(prelude=SMALL_PARTS, **stack.settings, **SLOW) as running:
        job_id = client.upload(csv_of(20 * ROWS))
        wait_for_rows(client, job_id, WINDOW)
        assert client.http.delete(f"/jobs/{job_id}").json()["status"] == "cancelled"
        running.wait_for("job given up", job=job_id)
        assert client.wait(client.submit({"texts": ["good"]}))["status"] == "completed"
    assert client.job(job_id)["status"] == "cancelled"


def test_another_model_begins_the_job_again_from_the_first_row(stack: Stack, client: JobsClient) -> None:
    job_id = begin(stack, client)
    with worker(prelude=ANOTHER, **stack.settings):
        assert client.wait(job_id)["result"] == {"rows": ROWS, "errors": 0, "model": "another"}
    check_rows(client, job_id)


def test_a_source_that_changes_while_the_job_waits_fails_it(stack: Stack, client: JobsClient) -> None:
    job_id = begin(stack, client)
    (stack.folder / "store" / job_id / "input").write_bytes(csv_of(ROWS).replace(b"good", b"fine"))
    with worker(prelude=SMALL_PARTS, **stack.settings):
        job = client.wait(job_id)
    assert job["status"] == "failed"
    assert "rows are not those of the output" in job["error"]


def test_what_has_expired_is_forgotten(stack: Stack, client: JobsClient) -> None:
    job_id = client.submit({"texts": ["good"]})
    with worker(**stack.settings):
        client.wait(job_id)
        with redis_client.Redis.from_url(stack.settings["redis_url"]) as database:
            database.zadd("rt-sentiment:ended", {job_id: 1.0})
        until(lambda: client.http.get(f"/jobs/{job_id}").status_code == 404)
        until(lambda: not (stack.folder / "store" / job_id).exists())


def test_a_redis_that_does_not_answer_is_not_waited_for_long(tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}"
        with serve(backend="mock", redis_url=url, job_store=str(tmp_path)) as server:
            waiting = server.post_in_background({"texts": ["good"]}, "/jobs/inference")
            assert server.post({"text": "good"}).status_code == 200
            assert waiting.response().status_code == 503


def test_a_redis_with_a_password_says_when_it_is_wrong(tmp_path: Path) -> None:
    port = free_port()
    with redis(port, "--requirepass", "secret"):
        for password, detail in (("wrong", "refuses the password"), ("secret", None)):
            url = f"redis://:{password}@127.0.0.1:{port}"
            jobs = Jobs(JobOptions(url, str(tmp_path), (), 60, 3, 10, 10_000, 10_000))
            if detail:
                with pytest.raises(Exception, match=detail):
                    jobs.check("all")
            else:
                jobs.check("all")
            jobs.close()


def test_a_worker_with_another_store_runs_nothing(stack: Stack, client: JobsClient, tmp_path: Path) -> None:
    job_id = client.upload(csv_of(3))
    with worker(wait=False, **stack.settings | {"job_store": str(tmp_path)}) as wrong:
        assert wrong.wait() != 0
        assert "both need the same SENTIMENT_JOB_STORE" in wrong.log.read_text()
    assert client.job(job_id)["status"] == "pending"
    with worker(**stack.settings):
        assert client.wait(job_id)["status"] == "completed"


def test_a_job_waits_for_a_worker_with_its_store(stack: Stack, client: JobsClient, tmp_path: Path) -> None:
    with redis_client.Redis(port=stack.port) as database:
        database.delete("rt-sentiment:store")  # no job has told the worker yet which store is used
        with worker(**stack.settings | {"job_store": str(tmp_path)}) as wrong:
            job_id = client.upload(csv_of(3))
            until(lambda: wrong.events("job failed"))
            assert "SENTIMENT_JOB_STORE" in client.wait(job_id, "pending")["error"]
    with worker(**stack.settings):
        assert client.wait(job_id)["status"] == "completed"


def test_a_port_is_free_again_at_once_after_kill_9(stack: Stack, client: JobsClient) -> None:
    port = str(free_port())
    job_id = client.upload(csv_of(ROWS))
    with worker(prelude=SMALL_PARTS, worker_port=port, **stack.settings, **VERY_SLOW) as first:
        wait_for_rows(client, job_id, WINDOW)
        os.kill(first.child, signal.SIGSTOP)  # it does not notice the end of its worker
        child = first.child
        first.process.kill()
        first.wait()
    try:
        with worker(worker_port=port, **stack.settings):
            pass
    finally:
        os.kill(child, signal.SIGKILL)


def test_the_process_of_a_job_gives_way_to_others(stack: Stack, client: JobsClient) -> None:
    job_id = client.upload(csv_of(ROWS))
    with worker(prelude=f"{SMALL_PARTS}\napp.jobs.priority.NICENESS = 11", **stack.settings, **SLOW) as running:
        wait_for_rows(client, job_id, WINDOW)
        threads = [int(thread.name) for thread in Path(f"/proc/{running.child}/task").iterdir()]
        assert {os.getpriority(os.PRIO_PROCESS, thread) for thread in threads} == {11}
        assert os.getpriority(os.PRIO_PROCESS, running.process.pid) != 11
        assert os.getsid(running.child) == running.child
        # The lease is renewed by a thread that others do not hold up.
        policies = [os.sched_getscheduler(thread) for thread in threads]
        assert policies.count(os.SCHED_IDLE) == len(policies) - 1
