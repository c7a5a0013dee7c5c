"""What the API does with jobs while Redis or its client fails at any moment."""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.errors import NotReady, Overloaded, TextTooLong
from app.jobs import JobOptions, Jobs, NewJob, service, transitions
from app.jobs.request import InferenceRequest
from app.jobs.sweep import Sweeper
from nginx.process import free_port
from tests.support.redis import redis


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    port = free_port()
    with redis(port):
        yield port


@pytest.fixture
def jobs(port: int, tmp_path: Path) -> Iterator[Jobs]:
    jobs = Jobs(JobOptions(f"redis://127.0.0.1:{port}", str(tmp_path / "store"), (), 3600, 3, 2, 4096, 1024))
    jobs._records.redis.flushall()
    yield jobs
    jobs.close()


def new(key: str | None = None) -> NewJob:
    return NewJob("me", InferenceRequest("a.csv"), idempotency_key=key)


def submit(jobs: Jobs, key: str | None = None) -> Any:
    upload = jobs.upload()
    upload.write(b"text\ngood\n")
    return jobs.submit(new(key), upload)


def inputs(jobs: Jobs) -> list[str]:
    return sorted(file.parent.name for file in Path(jobs.options.job_store).glob("*/input"))


def unreachable(*_args: object) -> None:
    raise NotReady("Redis cannot be reached")


def test_a_stored_job_keeps_its_rows_if_it_cannot_be_delivered(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs._queues, "deliver", unreachable)
    job = submit(jobs, "key")
    assert submit(jobs, "key").id == job.id
    assert inputs(jobs) == [job.id]


def test_a_job_is_tried_again_even_if_it_cannot_be_delivered(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    job = submit(jobs)
    jobs.cancel(job)
    monkeypatch.setattr(jobs._queues, "deliver", unreachable)
    assert jobs.retry(jobs._records.get(job.id)).status == "pending"  # type: ignore[arg-type]


def test_an_upload_without_a_job_is_discarded(jobs: Jobs) -> None:
    kept = [submit(jobs).id for _ in range(2)]
    with pytest.raises(Overloaded):
        submit(jobs)
    assert inputs(jobs) == sorted(kept)


def test_a_filter_that_matches_nothing_reads_only_some_pages(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "_PAGE", 1)
    monkeypatch.setattr(service, "_MAX_PAGES", 1)
    ids = {submit(jobs).id for _ in range(2)}
    found, cursor = jobs.page("me", {"status": "failed"}, "", 20)
    assert (found, cursor != "") == ([], True)
    assert jobs.page("me", {}, cursor, 20)[0][0].id in ids


def test_a_job_that_is_forgotten_meanwhile_does_not_end_a_list(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "_PAGE", 1)
    first = submit(jobs)
    time.sleep(0.002)  # the list is in the order of milliseconds
    gone = submit(jobs)
    jobs._records.redis.delete(f"rt-sentiment:job:{gone.id}")
    assert [job.id for job in jobs.page("me", {}, "", 20)[0]] == [first.id]


def test_open_jobs_of_a_caller_have_limited_bytes_in_the_store(port: int, jobs: Jobs, tmp_path: Path) -> None:
    def send(size: int) -> Any:
        upload = limited.upload()
        upload.write(b"x" * size)
        return limited.submit(new(), upload)

    limited = Jobs(JobOptions(f"redis://127.0.0.1:{port}", str(tmp_path), (), 3600, 3, 9, 1000, 5000))
    first = send(600)
    with pytest.raises(Overloaded, match="600 bytes in the store"):
        send(401)
    send(400)
    limited.check("me")
    limited.check("another")
    with pytest.raises(TextTooLong, match="larger than 1000 bytes"):
        send(1001)
    limited.cancel(first)
    again = send(600)
    limited.retry(limited.get("me", first.id))  # type: ignore[arg-type]
    with pytest.raises(Overloaded, match="1600 bytes"):
        limited.check("me")  # before a body is read
    for job in (again, limited.get("me", first.id)):
        limited.cancel(job)
    limited.check("me")
    limited.close()


def test_a_download_counts_as_the_largest_upload(port: int, jobs: Jobs, tmp_path: Path) -> None:
    places = ("https://example.com/in", f"file://{tmp_path}")
    limited = Jobs(JobOptions(f"redis://127.0.0.1:{port}", str(tmp_path), places, 3600, 3, 9, 1000, 600))
    for url in ("https://example.com/in/a.csv", f"file://{tmp_path}/b.csv"):
        limited.submit(NewJob("me", InferenceRequest("a.csv", url=url)))
    with pytest.raises(Overloaded, match="600 bytes"):
        limited.submit(NewJob("me", InferenceRequest("a.csv", url="https://example.com/in/a.csv")))
    limited.close()


class Line:
    """A connection to Redis which loses the reply to one transaction, after `on_lost` is called."""

    def __init__(self, port: int, on_lost: Callable[["Line"], object]) -> None:
        self._redis = port
        self._on_lost = on_lost
        self._has_lost = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                redis = socket.create_connection(("127.0.0.1", self._redis))
                is_lost = threading.Event()
                threading.Thread(target=self._send, args=(client, redis, is_lost), daemon=True).start()
                threading.Thread(target=self._reply, args=(redis, client, is_lost), daemon=True).start()

    def _send(self, client: socket.socket, redis: socket.socket, is_lost: threading.Event) -> None:
        with suppress(OSError):
            while data := client.recv(65536):
                if b"EXEC" in data and not self._has_lost:
                    self._has_lost = True
                    is_lost.set()
                redis.sendall(data)
        with suppress(OSError):
            redis.shutdown(socket.SHUT_RDWR)  # then `_reply` ends

    def _reply(self, redis: socket.socket, client: socket.socket, is_lost: threading.Event) -> None:
        with suppress(OSError):
            while (data := redis.recv(65536)) and not is_lost.is_set():
                client.sendall(data)
        if is_lost.is_set():
            self._on_lost(self)
        with suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)  # then `_send` ends
        client.close()
        redis.close()


@contextmanager
def losing(jobs: Jobs, port: int, on_lost: Callable[[Line], object]) -> Iterator[Jobs]:
    """The same jobs behind a `Line`."""
    line = Line(port, on_lost)
    remote = Jobs(replace(jobs.options, redis_url=f"redis://127.0.0.1:{line.port}"))
    try:
        yield remote
    finally:
        remote.close()
        line.close()


def test_a_job_whose_reply_was_lost_keeps_its_rows_and_is_found_again(jobs: Jobs, port: int) -> None:
    with losing(jobs, port, Line.close) as remote, pytest.raises(NotReady):
        submit(remote, "key")
    [stored] = jobs.page("me", {}, "", 20)[0]
    assert inputs(jobs) == [stored.id]
    assert submit(jobs, "key").id == stored.id
    assert inputs(jobs) == [stored.id]


def test_a_job_that_began_before_the_reply_was_lost_is_not_created_again(jobs: Jobs, port: int) -> None:
    def begin(_line: Line) -> None:
        [stored] = jobs.page("me", {}, "", 20)[0]
        jobs._records.change(stored.id, lambda job, now_s: transitions.claim(job, "worker", now_s))

    with losing(jobs, port, begin) as remote:
        assert submit(remote).status == "running"
    [stored] = jobs.page("me", {}, "", 20)[0]
    assert (stored.status, stored.token) == ("running", "worker")


def test_a_cancellation_whose_reply_was_lost_does_not_delete_the_job(jobs: Jobs, port: int) -> None:
    job = submit(jobs)
    with losing(jobs, port, lambda _line: None) as remote:
        assert remote.cancel(job).status == "cancelled"  # type: ignore[union-attr]
    assert jobs.get("me", job.id).status == "cancelled"  # type: ignore[union-attr]


def test_a_job_that_has_ended_just_before_it_is_cancelled_keeps_its_result(jobs: Jobs) -> None:
    job = submit(jobs)
    jobs._records.change(job.id, lambda job, now_s: transitions.claim(job, "t", now_s))
    jobs._records.change(job.id, lambda job, now_s: transitions.complete(job, "t", now_s, {"rows": 1}))
    assert jobs.cancel(job).status == "completed"  # type: ignore[union-attr]
    assert jobs.get("me", job.id).result == {"rows": 1}  # type: ignore[union-attr]
    assert inputs(jobs) == [job.id]


def test_a_job_that_is_tried_again_just_before_it_is_forgotten_stays(jobs: Jobs) -> None:
    job = submit(jobs)
    over = jobs.cancel(job)
    assert over is not None
    jobs.retry(over)
    assert jobs.cancel(over).status == "pending"  # type: ignore[union-attr]
    assert inputs(jobs) == [job.id]


def test_a_claim_whose_reply_was_lost_holds(jobs: Jobs, port: int) -> None:
    job = submit(jobs)
    with losing(jobs, port, lambda _line: None) as remote:
        claimed = remote._records.change(job.id, lambda job, now_s: transitions.claim(job, "t", now_s), lease="t")
    assert (claimed.status, claimed.attempts, claimed.token) == ("running", 1, "t")


def test_rows_without_a_job_are_deleted_after_an_hour(jobs: Jobs) -> None:
    store = Path(jobs.options.job_store)
    kept, fresh, old = submit(jobs).id, "f" * 24, "0" * 24
    for name in (fresh, old, "of-somebody-else"):
        (store / name).mkdir()
        (store / name / ".input.0").write_bytes(b"text")
    for folder in (kept, old, "of-somebody-else"):
        for path in (*(store / folder).iterdir(), store / folder):
            os.utime(path, (1000, 1000))
    sweeper = Sweeper(jobs._records, jobs._queues, jobs._store)
    sweeper.sweep()
    assert {path.name for path in store.iterdir() if path.is_dir()} == {kept, fresh, "of-somebody-else"}


def test_a_job_that_is_tried_again_before_its_time_still_waits_for_it(jobs: Jobs) -> None:
    later = time.time() + 1000
    job = jobs.submit(NewJob("me", InferenceRequest("a.csv"), run_at=later))
    jobs.cancel(job)
    again = jobs.retry(jobs.get("me", job.id))  # type: ignore[arg-type]
    assert (again.status, again.due_at, again.view()["metadata"]["run_at"] is not None) == ("pending", later, True)
    assert jobs._queues.waiting("normal") == []
    past = submit(jobs)
    jobs.cancel(past)
    assert jobs.retry(jobs.get("me", past.id)).due_at == 0  # type: ignore[arg-type]
    assert len(jobs._queues.waiting("normal")) == 2  # the delivery of the first attempt, and the second one
