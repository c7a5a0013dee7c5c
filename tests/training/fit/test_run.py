"""The directory of a training: what it keeps, and what it drops when it resumes."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.support.process import ROOT
from training.errors import InputError
from training.fit.recipe import Recipe
from training.fit.run import Run, Signals

SETTINGS = {"recipe": {"seed": 1}}


def test_nothing_is_written_before_the_run_begins(tmp_path: Path) -> None:
    run = Run(tmp_path / "run", SETTINGS)
    assert not (tmp_path / "run").exists()
    assert run.begin() is None
    assert json.loads((tmp_path / "run" / "run.json").read_text()) == SETTINGS


def test_entries_after_the_saved_state_are_dropped(tmp_path: Path) -> None:
    run = Run(tmp_path, SETTINGS)
    run.begin()
    for step in (10, 20):
        run.record({"step": step, "loss": 1.0})
    run.save({"step": 20})
    run.record({"step": 20, "dev": {}})  # the evaluation runs again
    run.record({"step": 30, "loss": 1.0})

    again = Run(tmp_path, SETTINGS)
    assert again.begin() == {"step": 20}
    assert [(entry["step"], "dev" in entry) for entry in again.history()] == [(10, False), (20, False)]


def test_entries_are_dropped_if_no_state_was_saved(tmp_path: Path) -> None:
    run = Run(tmp_path, SETTINGS)
    run.begin()
    run.record({"step": 10, "loss": 1.0})
    again = Run(tmp_path, SETTINGS)
    assert again.begin() is None
    assert again.history() == []


def test_a_line_that_a_crash_cut_off_is_ignored(tmp_path: Path) -> None:
    run = Run(tmp_path, SETTINGS)
    run.begin()
    run.record({"step": 10, "loss": 1.0})
    run.save({"step": 10})
    with (tmp_path / "history.jsonl").open("a") as file:
        file.write('{"step": 11, "lo')
    again = Run(tmp_path, SETTINGS)
    again.begin()
    again.record({"step": 20, "loss": 0.5})
    assert [entry["step"] for entry in again.history()] == [10, 20]


def test_a_crash_while_resuming_leaves_the_files_unchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(tmp_path, SETTINGS)
    run.begin()
    run.record({"step": 10, "loss": 1.0})
    run.save({"step": 10})
    before = {name: (tmp_path / name).read_bytes() for name in ("run.json", "history.jsonl", "state.pt")}
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", lambda self, text, **_: self.write_bytes(text[:1].encode()) and 1 / 0)
        with pytest.raises(ZeroDivisionError):
            Run(tmp_path, SETTINGS).begin()
    assert {name: (tmp_path / name).read_bytes() for name in before} == before
    assert Run(tmp_path, SETTINGS).begin() == {"step": 10}


def test_a_file_cannot_be_the_directory_of_a_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("years of work")
    with pytest.raises(ValueError, match="does not hold a run"):
        Run(tmp_path / "file", SETTINGS)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"recipe": {"seed": 2}}, "recipe.seed is 1 there, and 2 here; use the same"),
        ({"recipe": {"seed": 1, "epochs": 3}}, "recipe.epochs is 2 there, and 3 here; use the same"),
        ({"labels": ["a"], "data": {"sha256": "x"}}, "data.sha256 differs; use the same"),
        ({"recipe": {f"s{n}": n for n in range(9)}}, "and 5 more; use the same"),
    ],
)
def test_the_settings_that_differ_are_named(tmp_path: Path, changes: dict[str, object], said: str) -> None:
    Run(tmp_path, SETTINGS).begin()
    with pytest.raises(ValueError, match=f"holds a run with other settings: .*{said}"):
        Run(tmp_path, SETTINGS | changes)


HOLD = """
import sys
from dataclasses import asdict
from pathlib import Path
from training.fit.run import Run
Run(Path(sys.argv[1]), {"recipe": {"seed": 1}}).begin()
print("begun", flush=True)
sys.stdin.read()
"""


def test_a_run_from_before_a_setting_existed_goes_on(tmp_path: Path) -> None:
    recipe = json.loads(json.dumps(asdict(Recipe())))
    older = {name: value for name, value in recipe.items() if name not in ("early_layers", "early_weight")}
    Run(tmp_path / "run", {"recipe": older}).begin()
    Run(tmp_path / "run", {"recipe": recipe})
    with pytest.raises(InputError, match=r"recipe\.early_layers is \[\] there, and \[2\] here"):
        Run(tmp_path / "run", {"recipe": recipe | {"early_layers": [2]}})


def test_two_processes_cannot_train_in_one_directory(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path / "run")]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == "begun\n"
            with pytest.raises(
                ValueError, match=f"process {other.pid} is training in .*run; wait until it is finished"
            ):
                Run(tmp_path / "run", SETTINGS)
        finally:
            other.kill()  # as a crash does
    assert Run(tmp_path / "run", SETTINGS).begin() is None


def test_a_finished_run_leaves_no_lock(tmp_path: Path) -> None:
    run = Run(tmp_path / "run", SETTINGS)
    run.begin()
    assert (tmp_path / "run" / "lock").read_text() == str(os.getpid())
    run.checkpoint.mkdir()
    run.finish({})
    assert not (tmp_path / "run" / "lock").exists()
    with pytest.raises(ValueError, match="holds a finished run"):
        Run(tmp_path / "run", SETTINGS)


@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_stops_at_once(which: signal.Signals) -> None:
    before = signal.getsignal(which)
    with Signals() as signals:
        os.kill(os.getpid(), which)
        assert signals.received
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), which)
    assert signal.getsignal(which) is before
