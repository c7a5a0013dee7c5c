"""`rt-sentiment jobs` against a real service, and `make jobs`."""

import gzip
import json
import os
import signal
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from app.cli.jobs import client as client_module
from deploy import local_jobs
from nginx.process import free_port
from tests.support.command import run
from tests.support.jobs import JobsClient, Stack, csv_of
from tests.support.process import ROOT, clean_environment
from tests.support.waiting import HANG_S, until


@pytest.fixture(autouse=True)
def address(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("RT_SENTIMENT_URL", stack.server.address)
    monkeypatch.setattr(client_module, "_ASK_EVERY_S", 0.05)
    return stack.server.address


def output(capsys: pytest.CaptureFixture[str], *args: object, status: int = 0) -> str:
    assert run("jobs", *args) == status
    return capsys.readouterr().out.strip()


def test_a_file_is_sent_followed_and_fetched(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / 'a "b".csv'
    file.write_bytes(csv_of(200).replace(b"text", b"body"))
    job_id = output(capsys, "submit", file, "-c", "body", "--priority", "high")
    assert output(capsys, "wait", job_id) == f"{job_id} completed: 200 rows, 0 with an error"
    assert json.loads(output(capsys, "show", job_id))["metadata"]["priority"] == "high"
    output(capsys, "result", job_id, "--format", "csv", "-o", tmp_path / "out.csv")
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 201
    assert not list(tmp_path.glob("*.part"))
    assert run("jobs", "cancel", job_id) == 1
    assert f"is over (completed); to delete it: rt-sentiment jobs delete {job_id}" in capsys.readouterr().err
    assert output(capsys, "delete", job_id) == "deleted"
    output(capsys, "show", job_id, status=1)


def test_the_name_of_the_file_says_the_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in.csv").write_bytes(csv_of(20))
    job_id = output(capsys, "submit", tmp_path / "in.csv", "--wait").split()[0]
    for name in ("out.parquet", "out.jsonl.gz"):
        output(capsys, "result", job_id, "-o", tmp_path / name)
    assert pq.read_table(tmp_path / "out.parquet").num_rows == 20
    rows = gzip.decompress((tmp_path / "out.jsonl.gz").read_bytes()).splitlines()
    assert [json.loads(row)["id"] for row in rows] == [*map(str, range(20))]
    (tmp_path / "old.csv").write_text("old")
    output(capsys, "result", job_id, "-o", tmp_path / "old.csv", status=2)
    assert (tmp_path / "old.csv").read_text() == "old"
    output(capsys, "result", job_id, "-o", tmp_path / "old.csv", "--force")
    assert (tmp_path / "old.csv").read_text().startswith("id,text,label")
    output(capsys, "result", job_id, "-o", tmp_path / "model.tar", status=1)
    assert not list(tmp_path.glob("*.part"))


def test_a_reader_that_has_enough_is_no_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in.csv").write_bytes(csv_of(5000))  # more than a pipe holds
    job_id = output(capsys, "submit", tmp_path / "in.csv", "--wait").split()[0]
    command = [sys.executable, "-m", "app", "jobs", "result", job_id]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(1) == b"{"
        process.stdout.close()
        assert process.stderr.read() == b""


def test_a_job_is_cancelled_before_it_is_deleted(capsys: pytest.CaptureFixture[str], stack: Stack) -> None:
    with JobsClient(stack.server).http as http:
        job_id = http.post(
            "/jobs/inference", json={"texts": ["good"], "run_at": (datetime.now(UTC) + timedelta(hours=1)).isoformat()}
        ).json()["id"]
    assert run("jobs", "delete", job_id) == 1
    assert f"is pending; cancel it first: rt-sentiment jobs cancel {job_id}" in capsys.readouterr().err
    assert output(capsys, "cancel", job_id) == "cancelled"
    output(capsys, "cancel", job_id, status=1)
    assert json.loads(output(capsys, "show", job_id))["status"] == "cancelled"
    assert output(capsys, "delete", job_id) == "deleted"


def test_a_place_that_the_worker_reads_can_be_named(stack: Stack, capsys: pytest.CaptureFixture[str]) -> None:
    (stack.sources / "rows.tsv").write_text("good\nbad\n")
    flags = ("--no-header", "--prefix", "s_", "--wait", "--json")
    job = json.loads(output(capsys, "submit", f"file://{stack.sources}/rows.tsv", *flags))
    assert (job["status"], job["progress"]["done"]) == ("completed", 2)
    assert output(capsys, "result", job["id"]).startswith('{"column_1": "good", "s_label": "positive"')


def test_a_recipe_with_a_date_is_refused_by_the_server(
    tmp_path: Path, stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.csv").write_text("text,label\ngood,a\n")
    (tmp_path / "recipe.toml").write_text("epochs = 2027-01-31\n")
    for source in (tmp_path / "in.csv", f"file://{stack.sources}/in.csv"):
        assert run("jobs", "train", source, "--name", "mine", "--recipe", tmp_path / "recipe.toml") == 1
        assert "recipe: epochs: expected a number" in capsys.readouterr().err
        for name, why in (
            ("", "name: expected letters, digits, . _ and -"),
            ("encoder", "name: encoder is the name of"),
        ):
            assert run("jobs", "train", source, "--name", name) == 2
            assert why in capsys.readouterr().err


def test_a_failed_job_is_listed_and_tried_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in.csv").write_text("a,b\n1,2\n")
    job_id = output(capsys, "submit", tmp_path / "in.csv", "--wait", status=1).split()[0]
    assert job_id in output(capsys, "list", "--status", "failed")
    listed = json.loads(output(capsys, "list", "--json", "--limit", "1"))
    assert [job["id"] for job in listed] == [job_id]
    assert output(capsys, "retry", job_id) == "pending"
    output(capsys, "wait", job_id, status=1)
    output(capsys, "result", job_id, status=1)


@pytest.mark.parametrize(
    ("args", "status"),
    [
        (["submit", "/nothing.csv"], 2),
        (["submit", "file:///etc/passwd", "--input-format", "csv"], 1),
        (["show", "0f3c"], 1),
        (["list", "--url", "ftp://x"], 2),
    ],
)
def test_what_cannot_be_done_has_a_reason(args: list[str], status: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("jobs", *args) == status
    assert capsys.readouterr().err.startswith("rt-sentiment: ")


def get(port: int, path: str) -> Any:
    import httpx

    try:
        return httpx.get(f"http://127.0.0.1:{port}{path}", timeout=HANG_S)
    except httpx.TransportError:
        return None


def worker_of(pid: int) -> int | None:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return next((int(child) for child in children if b"worker" in Path(f"/proc/{child}/cmdline").read_bytes()), None)


def test_make_jobs_runs_all_three_and_stops_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    port = free_port()
    prelude = f"import pathlib, deploy.local_jobs as local\nlocal.FOLDER = pathlib.Path({str(tmp_path)!r})\n"
    process = subprocess.Popen(
        [sys.executable, "-c", f"{prelude}raise SystemExit(local.main())"],
        cwd=ROOT,
        env=clean_environment(port=str(port), backend="mock"),
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        until(lambda: (response := get(port, "/readyz")) and response.status_code == 200)
        killed = until(lambda: worker_of(process.pid))
        os.kill(killed, signal.SIGKILL)
        until(lambda: worker_of(process.pid) not in {None, killed})
        (tmp_path / "in.csv").write_bytes(csv_of(10))
        url = f"http://127.0.0.1:{port}"
        assert "completed: 10 rows" in output(capsys, "submit", tmp_path / "in.csv", "--wait", "--url", url)
        process.send_signal(signal.SIGINT)
        assert process.wait(HANG_S) == 0
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", port))
        assert not (tmp_path / "redis.sock").exists()  # Redis has ended in order
        assert list((tmp_path / "redis").glob("appendonly*"))  # a file, or a folder since Redis 7
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        ((), "SENTIMENT_REDIS_URL"),
        (("--queues", "high,what"), "no queue 'what'"),
        (("--slots", "0"), "0 is not in the range"),
    ],
)
def test_a_worker_says_what_it_needs(flags: tuple[str, ...], why: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("worker", *flags) == 2
    assert why in capsys.readouterr().err


def test_make_jobs_says_that_its_path_is_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(local_jobs, "FOLDER", tmp_path / ("x" * 100))
    assert local_jobs.main() == 1
    assert "too long for a socket" in capsys.readouterr().err


def test_a_worker_has_the_same_model_as_the_other_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    loaders: list[Any] = []
    monkeypatch.setattr("app.jobs.work", lambda _options, _names, load_scorer, *_, **__: loaders.append(load_scorer))
    assert run("worker", "--redis-url", "redis://127.0.0.1", "--backend", "mock", "--abstain-below", "0.9") == 0
    assert loaders[0]("truncate").description["abstain_below"] == 0.9
