"""A run that was stopped goes on without a lost or doubled row, however it was stopped."""

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from app.cli.exits import Failure
from app.cli.score.output import Output, State
from app.tables import scoring
from app.tables.reader import Window
from app.tables.scoring import ModelScorer
from tests.support.command import last_line, read_csv, read_jsonl, score
from tests.support.process import ROOT, clean_environment
from tests.support.waiting import until

NUMBER, WINDOW = 600, 50
# The process of a test has small windows and frequent checkpoints, too.
COMMAND = [
    sys.executable,
    "-c",
    f"""
import app.cli.score.output as output, app.tables.scoring as scoring
from app.cli import main
scoring._WINDOW, output._CHECKPOINT_EVERY_S = scoring.Window({WINDOW}), 0
main()""",
    "score",
]


@pytest.fixture(autouse=True)
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "_WINDOW", Window(WINDOW))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("input") / "in.csv"
    lines = (f'{number},"{"good" if number % 3 else "bad"}, {number}\n😀"\n' for number in range(NUMBER))
    file.write_text("id,text\n" + "".join(lines))
    return file


def stop_after(monkeypatch: pytest.MonkeyPatch, windows: int, error: BaseException) -> None:
    """Let appending fail after so many windows (and the header)."""
    append, calls = Output.append, 0

    def stopping(self: Output, *args: Any, **options: Any) -> None:
        nonlocal calls
        calls += 1
        if calls > windows + 1:
            raise error
        append(self, *args, **options)

    monkeypatch.setattr(Output, "append", stopping)


def _is_past(state: Path, rows: int) -> bool:
    return state.exists() and json.loads(state.read_text())["rows"] > rows


def check_csv(file: Path) -> None:
    rows = read_csv(file)[1:]
    assert [int(row[0]) for row in rows] == list(range(NUMBER))
    assert all(row[2] == ("positive" if int(row[0]) % 3 else "negative") for row in rows)


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet", "csv.gz"])
def test_ctrl_c_leaves_a_file_that_resume_continues(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], ending: str
) -> None:
    out, whole = tmp_path / f"out.{ending}", tmp_path / f"whole.{ending}"
    with monkeypatch.context() as patch:
        stop_after(patch, 3, KeyboardInterrupt())
        assert score(source, "-c", "text", "-o", out) == 130
    assert "stopped after 150 rows" in last_line(capsys)
    assert not out.exists()
    assert score(source, "-c", "text", "-o", out, "--resume") == 0
    assert score(source, "-c", "text", "-o", whole) == 0
    assert out.read_bytes() == whole.read_bytes()
    assert {file.name for file in tmp_path.iterdir()} == {out.name, whole.name}
    if ending == "parquet":
        assert pq.read_table(out).column("id").to_pylist() == [str(number) for number in range(NUMBER)]


def test_kill_9_loses_and_doubles_no_row(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    command = [*COMMAND, str(source), "-c", "text", "-o", str(out), "-q", "--resume"]
    state = tmp_path / "out.csv.part.json"
    environment = clean_environment(backend="mock", mock_delay_ms="30")
    done = 0
    for _ in range(2):
        with subprocess.Popen(command, cwd=ROOT, env=environment) as process:
            until(partial(_is_past, state, done))
            process.send_signal(signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL
        done = json.loads(state.read_text())["rows"]
    assert done < NUMBER
    with (tmp_path / "out.csv.part").open("ab") as stream:
        stream.write(b'7,"half a r')  # what a kill between a write and a checkpoint leaves
    assert score(source, "-c", "text", "-o", out, "--resume", "-q") == 0
    check_csv(out)


def test_a_full_disk_is_explained_and_resumed(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    command = [*COMMAND, str(source), "-c", "text", "-o", str(out), "-q"]
    environment = clean_environment(backend="mock")
    environment.pop("COVERAGE_PROCESS_CONFIG", None)  # the limit would stop coverage's own file, too
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "make room, and run the same command with --resume" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not out.exists()
    assert score(source, "-c", "text", "-o", out, "--resume", "-q") == 0
    check_csv(out)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_standard_output_is_an_error(source: Path) -> None:
    command = [*COMMAND, str(source), "-c", "text", "-q"]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            command, cwd=ROOT, env=clean_environment(backend="mock"), stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 1
    assert b"No space left on device" in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.fixture
def stopped(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """An input and an output with a part of its rows."""
    copy, out = tmp_path / "in.csv", tmp_path / "out.csv"
    copy.write_bytes(source.read_bytes())
    with monkeypatch.context() as patch:
        stop_after(patch, 2, KeyboardInterrupt())
        assert score(copy, "-c", "text", "-o", out, "-q") == 130
    return copy, out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content.replace(b"good, 1\n", b"fine, 1\n"), "its first 100 rows are not those"),
        (lambda content: content.replace(b'0,"bad', b'9,"bad'), "its first 100 rows are not those"),
        (lambda content: content + b"600,good\n", "bytes of the input was"),
        (lambda content: content[: len(content) // 2], "bytes of the input was"),
    ],
)
def test_another_input_is_refused(
    stopped: tuple[Path, Path], capsys: pytest.CaptureFixture[str], change: Any, message: str
) -> None:
    source, out = stopped
    source.write_bytes(change(source.read_bytes()))
    assert score(source, "-c", "text", "-o", out, "--resume") == 2
    assert message in last_line(capsys)
    assert out.with_name("out.csv.part").exists()


@pytest.mark.parametrize(
    "flags", [["-c", "id"], ["-c", "text", "--long-text", "window"], ["-c", "text", "--prefix", "x_"]]
)
def test_other_options_are_refused(
    stopped: tuple[Path, Path], capsys: pytest.CaptureFixture[str], flags: list[str]
) -> None:
    source, out = stopped
    assert score(source, "-o", out, "--resume", *flags) == 2
    assert "was begun in another way" in last_line(capsys)


def test_another_model_is_refused(
    stopped: tuple[Path, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = stopped
    create = ModelScorer.__init__

    def other(self: ModelScorer, *args: Any) -> None:
        create(self, *args)
        self.description = self.description | {"model": "another"}

    monkeypatch.setattr(ModelScorer, "__init__", other)
    assert score(source, "-c", "text", "-o", out, "--resume") == 2
    assert "model was mock mock None, now another" in last_line(capsys)


def test_a_part_is_neither_taken_for_a_whole_nor_overwritten(
    stopped: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = stopped
    assert score(source, "-c", "text", "-o", out) == 2
    assert "go on with --resume, or start again with --force" in last_line(capsys)
    assert not out.exists()
    assert score(source, "-c", "text", "-o", out, "--force", "-q") == 0
    check_csv(out)


def test_a_whole_output_is_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = tmp_path / "in.txt", tmp_path / "out.csv"
    source.write_text("good\n")
    assert score(source, "-o", out, "--resume", "-q") == 0  # there is nothing to continue: it starts
    source.write_text("bad\n")
    assert score(source, "-o", out) == 2
    assert "exists already; replace it with --force" in last_line(capsys)
    assert score(source, "-o", out, "--resume") == 0
    assert "is complete already" in last_line(capsys)
    assert read_csv(out)[1][0] == "good"
    assert score(source, "-o", out, "--force", "-q") == 0
    assert read_csv(out)[1][0] == "bad"


def test_the_input_is_never_the_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "in.csv"
    file.write_text("text\ngood\n")
    assert score(file, "-o", file, "--force") == 2
    assert "cannot replace the input" in last_line(capsys)
    assert file.read_text() == "text\ngood\n"


def test_two_runs_cannot_write_one_output(tmp_path: Path) -> None:
    first, second = Output(tmp_path / "out"), Output(tmp_path / "out")
    first.open(State({}))
    with pytest.raises(Failure, match="another process is writing it"):
        second.open(State({}))
    first.abandon()


def test_a_state_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "out.part").touch()
    (tmp_path / "out.part.json").write_text("{")
    with pytest.raises(Failure, match=r"out\.part\.json: cannot be read"):
        Output(tmp_path / "out").read_state()


@pytest.mark.parametrize("call", range(7))
def test_a_failure_at_any_system_call_is_resumed(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    out, calls = tmp_path / "out.csv", 0
    real = os.fsync

    def failing(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls > call:
            raise OSError(28, "No space left on device")
        real(descriptor)

    small = tmp_path / "in.csv"
    small.write_text("".join(source.read_text().splitlines(keepends=True)[:21]))
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing)
        assert score(small, "-c", "text", "-o", out, "-q") == 1
    with contextlib.suppress(FileNotFoundError):
        assert len(read_csv(out)) == 11
    assert score(small, "-c", "text", "-o", out, "--resume", "-q") == 0
    assert [row[0] for row in read_csv(out)[1:]] == [str(number) for number in range(10)]


def test_json_rows_resume_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, out = tmp_path / "in.jsonl", tmp_path / "out.csv"
    source.write_text("".join(f'{{"text": "good", "n{number % 3}": {number}}}\n' for number in range(120)))
    with monkeypatch.context() as patch:
        stop_after(patch, 1, KeyboardInterrupt())
        assert score(source, "-o", out, "-q") == 130
    assert score(source, "-o", out, "-q", "--resume") == 0
    header, *rows = read_csv(out)
    assert header[:4] == ["text", "n0", "n1", "n2"]
    assert [max(row[1:4], key=len) for row in rows] == [str(number) for number in range(120)]
    assert not read_jsonl(source)[0].get("label")
