"""What the API does with jobs while Redis or its client fails at any moment."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.errors import NotReady, Overloaded
from app.jobs import JobOptions, Jobs, NewJob, service
from app.jobs.request import InferenceRequest
from nginx.process import free_port
from tests.support.redis import redis


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    port = free_port()
    with redis(port):
        yield port


@pytest.fixture
def jobs(port: int, tmp_path: Path) -> Iterator[Jobs]:
    jobs = Jobs(JobOptions(f"redis://127.0.0.1:{port}", str(tmp_path / "store"), (), 3600, 3, 2, 1024))
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
