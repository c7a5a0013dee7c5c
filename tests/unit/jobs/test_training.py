"""What is done before and after the process of a training, and where it cannot run."""

import gzip
import io
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from app.errors import InvalidInput, NotReady, TableError
from app.jobs import JobOptions, TrainingRequest, training
from app.jobs.job import Job, JobType
from app.jobs.lease import Lease
from app.jobs.results import input_path, open_result
from app.jobs.store import LocalStore, ObjectStore
from tests.support.command import run

OPTIONS = JobOptions("redis://localhost", "", (), 60, 3, 3, 4096, 1000)


class Running:
    """The lease of a job that runs."""

    def __init__(self, **checkpoint: Any) -> None:
        self.job = Job("a", "training", "me", {}, 0.0, 0.0, 3, 60, checkpoint=checkpoint)

    def check(self) -> None:
        pass


@pytest.mark.parametrize(
    ("file", "kind", "name"),
    [
        ("reviews.csv", None, "reviews.csv"),
        ("torch.py", "csv", "torch.csv"),
        ("..", "jsonl", "rows.jsonl"),
        ("a?text=b/c.tsv.gz", None, "a-text-b-c.tsv"),
        ("all.parquet", None, "rows.parquet"),
        ("a" * 1000, "parquet", "a" * 128 + ".parquet"),
    ],
)
def test_the_name_of_the_rows_is_no_path_and_no_module(file: str, kind: str | None, name: str) -> None:
    assert TrainingRequest(file, "mine", format=kind).table == name


@pytest.mark.parametrize("options", [{"file": "a.txt"}, {"file": "a"}, {"file": "a.csv", "encoding": "what"}])
def test_rows_that_no_training_reads_are_refused(options: dict[str, str]) -> None:
    with pytest.raises(InvalidInput):
        TrainingRequest(**options, name="mine").check()


def copy(tmp_path: Path, data: bytes) -> bytes:
    store = LocalStore(tmp_path)
    store.write(input_path("a"), data)
    table = tmp_path / "table"
    training._copy_table(TrainingRequest("a.csv.gz", "mine"), cast("Lease", Running()), store, OPTIONS, table)
    return table.read_bytes()


def test_rows_are_copied_once(tmp_path: Path) -> None:
    assert copy(tmp_path, gzip.compress(b"text,label\n")) == b"text,label\n"
    assert copy(tmp_path, b"other rows") == b"text,label\n"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (gzip.compress(b"a" * 1001, mtime=0), "larger than 1000 bytes"),
        (gzip.compress(b"a" * 900, mtime=0)[:-9], "not a whole gzip file"),
        (b"text,label\n", "not a whole gzip file"),
    ],
    ids=["large", "short", "plain"],
)
def test_rows_that_cannot_be_copied_are_refused(tmp_path: Path, data: bytes, why: str) -> None:
    with pytest.raises((InvalidInput, TableError), match=why):
        copy(tmp_path, data)
    assert not (tmp_path / "table").exists()


def test_rows_of_a_web_site_have_the_room_that_their_job_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[int] = []

    def download(_url: str, max_bytes: int) -> list[bytes]:
        limits.append(max_bytes)
        return [b"text,label\n"]

    monkeypatch.setattr(training, "download", download)
    options = replace(OPTIONS, job_sources=("https://a.example",), job_max_open_bytes=500)
    request = TrainingRequest("a.csv", "mine", url="https://a.example/a.csv")
    training._copy_table(request, cast("Lease", Running()), LocalStore(tmp_path), options, tmp_path / "table")
    assert limits == [500]


def test_a_base_is_a_folder_among_those_of_the_worker(tmp_path: Path) -> None:
    (tmp_path / "multilingual").mkdir()
    assert training._start("multilingual", tmp_path) == str(tmp_path / "multilingual")
    assert training._start("encoder", None) == "encoder"
    with pytest.raises(InvalidInput, match="unknown base other; there are sentiment-en, encoder, multilingual"):
        training._start("other", tmp_path)
    with pytest.raises(InvalidInput, match=r"there are sentiment-en, encoder$"):
        training._start("other", None)


def test_a_model_that_is_stored_is_not_trained_again() -> None:
    lease = Running(result={"model": "mine"})
    assert training.train_job(cast("Lease", lease), cast("Any", None), OPTIONS) == {"model": "mine"}


@pytest.mark.parametrize(("code", "why"), [("import sys; sys.exit(3)", "with status 3"), ("os.abort()", "by signal 6")])
def test_a_process_that_ends_without_a_model_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, why: str
) -> None:
    package = tmp_path / "training" / "workflow"
    package.mkdir(parents=True)
    for each in (package, package.parent):
        (each / "__init__.py").touch()
    (package / "job.py").write_text(f"import os; {code}")
    monkeypatch.setattr(training, "_environment", lambda: {"PYTHONPATH": str(tmp_path)})
    with pytest.raises(training.TrainingFailed, match=why):
        training._train(cast("Lease", Running()), TrainingRequest("a.csv", "mine"), OPTIONS, tmp_path)


def test_the_archive_says_nothing_about_the_machine(tmp_path: Path) -> None:
    import tarfile

    (tmp_path / "models" / "mine").mkdir(parents=True)
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    for file in ("models/mine/config.json", "runs/mine/mistakes.csv", "runs/mine/state.pt", "output.txt"):
        (tmp_path / file).write_text(file)
    stream = io.BytesIO()
    training._pack(tmp_path, "mine", stream)
    with tarfile.open(fileobj=io.BytesIO(stream.getvalue())) as archive:
        assert archive.getnames() == ["mine", "mine/config.json", "mine-run/mistakes.csv", "mine-run/output.txt"]
        assert {(info.uid, info.gid, info.uname, info.gname) for info in archive} == {(0, 0, "", "")}


def test_an_object_store_lends_a_folder_that_goes(tmp_path: Path) -> None:
    with ObjectStore(f"file://{tmp_path}").workplace("a/training") as folder:
        (folder / "state.pt").write_text("")
    assert not folder.exists()


def test_without_pytorch_there_are_no_trainings(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    queues: list[Any] = []
    monkeypatch.setattr("app.jobs.work", lambda _options, names, *_, **__: queues.append(names))
    flags = ("worker", "--redis-url", "redis://127.0.0.1", "--backend", "mock")
    assert run(*flags) == 0
    monkeypatch.setattr(training, "find_spec", lambda name: None if name == "torch" else object())
    assert run(*flags) == 0
    assert queues == [["high", "normal", "low", "training"], ["high", "normal", "low"]]
    assert "the package torch is missing" in capsys.readouterr().err
    assert run(*flags, "--queues", "training") == 2
    assert "--queues training: the package torch is missing" in capsys.readouterr().err


def test_a_worker_without_the_code_for_training_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "find_spec", lambda _: None)
    with pytest.raises(NotReady, match="this worker cannot train: the code for training is not installed"):
        training._environment()


@pytest.mark.parametrize(
    ("kind", "target", "why"), [("training", "csv", "which is always tar"), ("inference", "tar", "only a model is tar")]
)
def test_a_result_in_another_format_says_which_there_are(tmp_path: Path, kind: JobType, target: str, why: str) -> None:
    job = Job("a", kind, "me", {}, 0.0, 0.0, 3, 60, status="completed")
    with pytest.raises(InvalidInput, match=why):
        open_result(job, LocalStore(tmp_path), target)
