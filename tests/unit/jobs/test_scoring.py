"""From the source of a job to its result, with a lease and a model that fail."""

import contextlib
import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest

from app.errors import InvalidInput, NotReady, TableError, TableOptionError
from app.jobs import JobOptions
from app.jobs.job import Job
from app.jobs.lease import HandedBack, Lease
from app.jobs.request import InferenceRequest
from app.jobs.results import input_path
from app.jobs.scoring import score_job
from app.jobs.store import LocalStore
from app.jobs.tasks import _FINAL, _explain
from app.tables import ADDED, Columns, Window, encoder_for, formats, open_reader, scan


def job(**changes: Any) -> Job:
    values: dict[str, Any] = {"id": "a", "type": "inference", "owner": "me", "max_failures": 3, "ttl_s": 60}
    values |= {"request": InferenceRequest("a.jsonl").to_dict(), "created_at": 0.0, "updated_at": 0.0}
    return Job(**values | changes)


class StoppedLease:
    """The job has been cancelled."""

    job = job()

    def check(self) -> None:
        raise HandedBack


class RunningLease:
    """The job runs."""

    def __init__(self, request: InferenceRequest) -> None:
        self.job = job(request=request.to_dict())

    def check(self) -> None:
        pass


def no_scorer(*_: object) -> Any:
    raise AssertionError("the model is not needed")


def test_a_job_ends_while_its_source_is_looked_through(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.write(input_path("a"), b"\n" * 1000 + b"not JSON\n")
    options = JobOptions("redis://localhost", str(tmp_path), (), 60, 3, 3, 4096, 1024)
    with pytest.raises(HandedBack):
        score_job(cast("Lease", StoppedLease()), store, no_scorer, options)


class Broken:
    def read_nothing(self, *_: object) -> int:
        raise ConnectionResetError(104, "Connection reset by peer")

    readinto = read_nothing

    def seekable(self) -> bool:
        return True

    def seek(self, *_: int) -> int:
        return 100

    tell = seek

    def close(self) -> None:
        pass


def refuse() -> BinaryIO:
    raise ConnectionResetError(104, "Connection reset by peer")


@pytest.mark.parametrize("opener", [refuse, Broken])
@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.parquet"])
def test_a_source_whose_connection_breaks_is_read_again(name: str, opener: Callable[[], Any]) -> None:
    source = InferenceRequest(name).source(opener)
    with pytest.raises(NotReady) as raised, open_reader(source, InferenceRequest(name).columns):
        pass
    assert not isinstance(raised.value, _FINAL)
    assert _explain(raised.value) == "the source cannot be read: Connection reset by peer"


def test_a_file_that_becomes_far_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "_MUCH_BYTES", 1024)
    source = InferenceRequest("a.csv.gz").source(lambda: (tmp_path / "a.csv.gz").open("rb"))
    for size, is_too_large in ((1000, False), (1_000_000, True)):
        (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"text\n" + b"a\n" * size))
        raised: Any = pytest.raises(TableError, match="200 times") if is_too_large else contextlib.nullcontext()
        with raised:
            scan(source, Columns())


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.csv", b"text,%b\n" % (b"x" * 70_000)),
        ("a.jsonl", b"".join(b'{"text": "a", "%d": 1}\n' % number for number in range(20_000))),
    ],
)
def test_names_that_would_fill_redis_are_refused(tmp_path: Path, name: str, data: bytes) -> None:
    store = LocalStore(tmp_path)
    store.write(input_path("a"), data)
    options = JobOptions("redis://localhost", str(tmp_path), (), 60, 3, 3, 4096, 1024)
    lease = RunningLease(InferenceRequest(name))
    with pytest.raises(TableError, match="names of its columns"):
        score_job(cast("Lease", lease), store, no_scorer, options)


def test_a_long_list_of_columns_is_cut() -> None:
    assert len(_explain(TableError("x" * 100_000))) < 10_000


def test_half_a_surrogate_pair_in_a_name_is_no_name_of_parquet(tmp_path: Path) -> None:
    source = InferenceRequest("a.jsonl").source(lambda: (tmp_path / "a.jsonl").open("rb"))
    with pytest.raises(TableOptionError, match="surrogate"):
        encoder_for("parquet", source, ["text", "\ud800"], ADDED, ["positive"])


def test_half_a_surrogate_pair_in_a_name_can_be_stored() -> None:
    before = job(checkpoint={"names": ["\ud800"]})
    assert Job.from_json(before.to_json()) == before


def test_half_a_surrogate_pair_in_a_name_can_be_shown(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"\\ud800": "good"}\n')
    request = InferenceRequest("a.jsonl")
    source = request.source(lambda: (tmp_path / "a.jsonl").open("rb"))
    with pytest.raises(TableError) as raised, open_reader(source, request.columns) as reader:
        list(reader.windows(Window()))
    _explain(raised.value).encode()
    _explain(InvalidInput("no column a; the columns are \ud800")).encode()  # of a training
