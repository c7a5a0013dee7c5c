"""Jobs of both clients, against a real service with a real Redis and a real worker."""

import io
import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from rt_sentiment_client import (
    AsyncClient,
    Client,
    DeadlineExceeded,
    InvalidRequest,
    Job,
    Overloaded,
    TextTooLong,
    Unavailable,
)

from tests.clients.test_package import JOB_EXAMPLES, run_example
from tests.support.both_clients import EITHER, Connect
from tests.support.jobs import Stack, csv_of, running_stack
from tests.support.process import Server
from tests.support.waiting import HANG_S

PATIENT = {"timeout_s": HANG_S, "attempt_timeout_s": HANG_S}
SOON = timedelta(hours=1)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_stack(tmp_path_factory.mktemp("jobs"), root_path="/sentiment") as running:
        yield running


@pytest.fixture
def address(stack: Stack) -> str:
    return f"{stack.server.address}/sentiment"


@EITHER
async def test_texts_become_a_job_with_typed_rows(connect: Connect, address: str) -> None:
    async with connect(address, **PATIENT) as client:
        submitted = await client.jobs.submit(texts=["good", " ", "bad \u2028 é😀"], priority="high", prefix="p_")
        assert submitted.status == "pending"
        job = await client.jobs.wait(submitted.id)
        rows = await client.jobs.result(job.id)
    assert (job.status, job.is_over, job.attempts, job.error) == ("completed", True, 1, None)
    assert (job.progress.done, job.progress.total, job.progress.eta_s) == (3, 3, None)
    assert (job.type, job.metadata["name"], job.metadata["priority"]) == ("inference", "texts.jsonl", "high")
    assert job.result is not None
    assert (job.result["rows"], job.result["errors"]) == (3, 1)
    assert job.started_at is not None
    assert job.finished_at is not None
    assert timedelta(0) <= job.finished_at - job.created_at < timedelta(seconds=HANG_S)
    assert [row.columns for row in rows] == [{"text": "good"}, {"text": " "}, {"text": "bad \u2028 é😀"}]
    assert [row.prediction and row.prediction.label for row in rows] == ["positive", None, "negative"]
    assert [row.error for row in rows] == [None, "the text has no visible character", None]
    assert rows[0].prediction.scores.keys() == {"negative", "neutral", "positive"}


@EITHER
@pytest.mark.parametrize("kind", ["path", "file", "memory", "pipe"])
async def test_a_file_is_scored_and_downloaded(connect: Connect, address: str, tmp_path: Path, kind: str) -> None:
    content = csv_of(2500).replace(b"text", b"body")
    path = tmp_path / 'in "1".csv'
    path.write_bytes(content)
    async with connect(address, **PATIENT) as client:
        if kind == "path":
            submitted = await client.jobs.submit(file=path, text_column="body")
        elif kind == "file":
            with path.open("rb") as file:
                file.readline()
                submitted = await client.jobs.submit(file=file, text_column=2, no_header=True)
        elif kind == "memory":
            file = io.BytesIO(content)
            submitted = await client.jobs.submit(file=file, name="reviews.csv", text_column="body")
        else:
            with through_pipe(content) as file:
                submitted = await client.jobs.submit(file=file, format="csv", text_column="body")
        job = await client.jobs.wait(submitted.id)
        assert job.status == "completed", job.error
        await client.jobs.download(job.id, tmp_path / "out.csv")
        await client.jobs.download(job.id, tmp_path / "out.parquet")
        rows = await client.jobs.result(job.id)
    names = {"path": "in _1_.csv", "file": "in _1_.csv", "memory": "reviews.csv", "pipe": "upload"}
    assert job.metadata["name"] == names[kind]
    lines = (tmp_path / "out.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines if line[0].isdigit()] == [str(number) for number in range(2500)]
    assert len(lines) == 2500 if kind == "file" else 2501
    assert pq.read_table(tmp_path / "out.parquet").num_rows == len(rows) == 2500
    assert [row.prediction.label for row in rows[:3]] == ["negative", "positive", "positive"]
    assert names_in(tmp_path) == ['in "1".csv', "out.csv", "out.parquet"]


def names_in(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def through_pipe(content: bytes) -> io.BufferedReader:
    """A file that cannot go back."""
    reading, writing = os.pipe()

    def write() -> None:
        with os.fdopen(writing, "wb") as stream:
            stream.write(content)

    threading.Thread(target=write).start()
    return os.fdopen(reading, "rb")


@EITHER
async def test_a_source_of_the_worker_is_scored_later_and_again(connect: Connect, stack: Stack, address: str) -> None:
    (stack.sources / "a.jsonl").write_text('{"body": "good"}\n')
    source = f"file://{stack.sources}/a.jsonl"
    async with connect(address, **PATIENT) as client:
        now = await client.jobs.submit(source=source, text_column="body", on_bad_row="keep", long_text="window")
        rows = await client.jobs.result((await client.jobs.wait(now.id)).id)
        assert [(row.columns, row.prediction.label) for row in rows] == [({"body": "good"}, "positive")]
        later = await client.jobs.submit(
            source=source, run_at=datetime.now(UTC) + SOON, every=timedelta(hours=1), priority="low"
        )
        job = await client.jobs.get(later.id)
        assert (job.status, job.metadata["every_s"], job.metadata["priority"]) == ("pending", 3600, "low")
        assert job.metadata["run_at"] > datetime.now(UTC).isoformat()
        assert (await client.jobs.cancel(later.id)).status == "cancelled"
        with pytest.raises(InvalidRequest, match="may not read from there"):
            await client.jobs.submit(source="file:///etc/passwd", format="lines")


@EITHER
async def test_the_same_key_gives_the_same_job(connect: Connect, address: str) -> None:
    key = f"key of {connect.__name__}"
    async with connect(address, **PATIENT) as client:
        first, second = [await client.jobs.submit(texts=["good"], idempotency_key=key) for _ in range(2)]
        other = await client.jobs.submit(texts=["good"])
        assert first.id == second.id != other.id
        with pytest.raises(InvalidRequest):
            await client.jobs.submit(texts=["bad"], idempotency_key=key)


@EITHER
async def test_a_list_goes_over_pages_and_can_be_filtered(connect: Connect, address: str) -> None:
    async with connect(address, **PATIENT) as client:
        job_ids = [
            (await client.jobs.submit(texts=["good"], run_at=(datetime.now(UTC) + SOON).isoformat())).id
            for _ in range(5)
        ]
        found = [job.id for job in await client.jobs.list(page_size=2)]
        assert found[:5] == job_ids[::-1]
        assert len(set(found)) == len(found)
        pending = await client.jobs.list(status="pending", type="inference")
        assert {job.id for job in pending} >= {*job_ids}
        assert {job.status for job in pending} == {"pending"}
        for job_id in job_ids:
            await client.jobs.cancel(job_id)
        assert {job.status for job in await client.jobs.list() if job.id in job_ids} == {"cancelled"}


@EITHER
async def test_a_job_is_cancelled_tried_again_and_deleted(connect: Connect, address: str) -> None:
    async with connect(address, **PATIENT) as client:
        job_id = (await client.jobs.submit(texts=["good"], run_at=datetime.now(UTC) + SOON)).id
        with pytest.raises(InvalidRequest, match="only a completed job has a result"):
            await client.jobs.result(job_id)
        assert (await client.jobs.cancel(job_id)).status == "cancelled"
        assert (await client.jobs.wait(job_id)).status == "cancelled"
        again = await client.jobs.retry(job_id)
        assert (again.id, again.status) == (job_id, "pending")
        with pytest.raises(InvalidRequest, match="only a job that failed or was cancelled"):
            await client.jobs.retry(job_id)
        assert (await client.jobs.cancel(job_id)).status == "cancelled"
        with pytest.raises(InvalidRequest, match="cancel it before"):
            await client.jobs.delete((await client.jobs.retry(job_id)).id)
        for _ in range(2):  # the second time, it is over
            assert (await client.jobs.cancel(job_id)).status == "cancelled"
        await client.jobs.delete(job_id)
        with pytest.raises(InvalidRequest, match="you have no job of this id") as raised:
            await client.jobs.events(job_id)
        assert raised.value.status == 404


@EITHER
async def test_a_training_is_sent(connect: Connect, stack: Stack, address: str, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("review;stars\ngood;5\n")
    layout = {"text_column": "review", "label_column": 2, "map": "5:positive", "delimiter": ";", "quotes": False}
    how = {"base": "encoder", "preset": "quick", "recipe": {"epochs": 2, "keep": "last"}, "priority": "high"}
    later = datetime.now(UTC) + SOON
    source = f"file://{stack.sources}/rows.csv"
    with (tmp_path / "rows.csv").open("rb") as stream:
        for rows in ({"file": tmp_path / "rows.csv"}, {"file": stream, "file_name": "a.csv"}, {"source": source}):
            async with connect(address, **PATIENT) as client:
                sent = await client.jobs.train(name="stars", **rows, **layout, **how, run_at=later)
                job = await client.jobs.get(sent.id)
                assert (job.type, job.metadata["name"], job.metadata["priority"]) == ("training", "stars", "high")
                assert await client.jobs.cancel(sent.id)
                await client.jobs.delete(sent.id)
    async with connect(address, **PATIENT) as client:
        for wrong in ({"name": "a b"}, {"recipe": {"epoch": 1}}, {"name": "encoder"}):
            with pytest.raises(InvalidRequest, match=r"expected letters|did you mean epochs|comes with"):
                await client.jobs.train(**{"name": "stars", "source": source} | wrong)


@EITHER
async def test_the_progress_is_told_until_the_job_is_over(connect: Connect, address: str) -> None:
    told: list[Job] = []
    async with connect(address, **PATIENT) as client:
        job_id = (await client.jobs.submit(file=io.BytesIO(csv_of(2000)), name="in.csv")).id
        job = await client.jobs.wait(job_id, HANG_S, on_progress=told.append)
        assert [state.is_over for state in told] == [*[False] * (len(told) - 1), True]
        assert told[-1] == job
        assert (await client.jobs.events(job_id)) == [job]


@EITHER
async def test_a_wait_ends_at_its_limit(connect: Connect, address: str) -> None:
    async with connect(address, **PATIENT) as client:
        job_id = (await client.jobs.submit(texts=["good"], run_at=datetime.now(UTC) + SOON)).id
        with pytest.raises(DeadlineExceeded):
            await client.jobs.wait(job_id, 0.1)
        assert (await client.jobs.cancel(job_id)).status == "cancelled"


@EITHER
async def test_a_file_that_is_too_large_is_refused(connect: Connect, address: str) -> None:
    async with connect(address, **PATIENT) as client:
        for rows in ({"texts": ["good " * 1000] * 1000}, {"file": io.BytesIO(b"text\n" + b"x" * 300_000)}):
            with pytest.raises(TextTooLong, match="larger than 200000 bytes"):
                await client.jobs.submit(**rows, name="a.csv" if "file" in rows else None)


@EITHER
async def test_a_failed_job_says_why(connect: Connect, address: str) -> None:
    async with connect(address, **PATIENT) as client:
        job = await client.jobs.wait((await client.jobs.submit(file=io.BytesIO(b"a,b\n1,2\n"), name="a.csv")).id)
    assert job.status == "failed"
    assert "its columns are a, b" in job.error


@EITHER
async def test_columns_of_one_name_cannot_become_rows(connect: Connect, address: str, tmp_path: Path) -> None:
    async with connect(address, **PATIENT) as client:
        job_id = (await client.jobs.submit(file=io.BytesIO(b"a,a,text\n1,2,good\n"), name="a.csv")).id
        await client.jobs.wait(job_id)
        with pytest.raises(InvalidRequest):
            await client.jobs.result(job_id)
        with pytest.raises(InvalidRequest):
            await client.jobs.download(job_id, tmp_path / "out", format="ndjson")
        await client.jobs.download(job_id, tmp_path / "out", format="tsv")
    assert names_in(tmp_path) == ["out"]


@EITHER
async def test_a_server_without_jobs_says_so_at_once(connect: Connect, mock_server: Server) -> None:
    async with connect(mock_server.address, **PATIENT) as client:
        with pytest.raises(Unavailable, match="SENTIMENT_REDIS_URL"):
            await client.jobs.submit(texts=["good"])


@EITHER
async def test_a_caller_with_too_many_jobs_is_told(connect: Connect, stack: Stack, address: str) -> None:
    later = datetime.now(UTC) + SOON
    async with connect(address, max_attempts=1) as client:
        for _ in range(int(stack.settings["job_max_open"])):
            await client.jobs.submit(texts=["good"], run_at=later)
        with pytest.raises(Overloaded) as raised:
            await client.jobs.submit(texts=["good"], run_at=later)
        assert raised.value.status == 429
        for job in await client.jobs.list(status="pending"):
            await client.jobs.cancel(job.id)


def test_a_sync_iterator_can_be_left(address: str) -> None:
    with Client(address, **PATIENT) as client:
        job_id = client.jobs.submit(texts=["good"] * 5000).id
        for job in client.jobs.events(job_id):
            assert job.id == job_id
            break
        client.jobs.wait(job_id)
        assert next(iter(client.jobs.result(job_id))).columns == {"text": "good"}
        assert client.predict("good").label == "positive"


async def test_an_async_iterator_can_be_left(address: str) -> None:
    async with AsyncClient(address, **PATIENT) as client:
        job_id = (await client.jobs.submit(texts=["good"] * 5000)).id
        async for job in client.jobs.events(job_id):
            assert job.id == job_id
            break
        await client.jobs.wait(job_id)
        async for row in client.jobs.result(job_id):
            assert row.columns == {"text": "good"}
            break
        assert (await client.predict("good")).label == "positive"


@pytest.mark.parametrize("program", JOB_EXAMPLES)
def test_an_example_with_jobs_runs(program: str, address: str, tmp_path: Path) -> None:
    assert "positive" in run_example(program, address, tmp_path)
