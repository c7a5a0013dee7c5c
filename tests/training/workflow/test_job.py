"""A training for a background job: what it may be told, and what it says about its end."""

import sys
from pathlib import Path
from typing import Any

import pytest

from training.errors import BusyRun, FetchFailed
from training.workflow import job

ROWS = "text,label\n" + "".join(f"row {number} of many,late\n" for number in range(20))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rows.csv").write_text(ROWS)
    return tmp_path


def run(folder: Path, **options: Any) -> dict[str, Any]:
    return job.run(folder, {"table": "rows.csv", "name": "mine", "start": "sentiment-en"} | options)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({}, "a training needs at least two labels; all rows have late"),
        ({"text_column": "body"}, "rows.csv: no column body; the columns are text, label"),
        ({"label_map": "late"}, "the mapping 'late': expected THEIRS:OURS"),
        ({"layout": {"encoding": "utf-16", "delimiter": None, "quotes": None}}, "rows.csv, line 1: cannot be read"),
        ({"recipe": {"epochs": 0}}, "recipe: epochs: Input should be greater than or equal to 1"),
        ({"recipe": {"dev": "/etc/passwd"}}, "recipe: dev: unknown setting"),
        ({"recipe": {"runs": "/tmp"}}, "recipe: runs: unknown setting"),
        ({"preset": "best"}, "unknown preset best"),
    ],
)
def test_what_another_attempt_would_not_change_is_final(folder: Path, options: dict[str, Any], why: str) -> None:
    outcome = run(folder, **options)
    assert outcome["error"].startswith(why)
    assert outcome["is_final"]


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (BusyRun("process 7 is training there"), "process 7 is training there"),
        (FetchFailed("no connection"), "no connection"),
        (OSError(28, "No space left on device"), "the training failed: No space left on device"),
        (RuntimeError("a text of somebody"), "the training failed: RuntimeError"),
    ],
)
def test_what_may_pass_is_not_final(folder: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, why: str) -> None:
    def fail(*_args: Any, **_options: Any) -> None:
        raise error

    import training.workflow.train_table  # noqa: F401 - the package has a function of this name

    monkeypatch.setattr(sys.modules["training.workflow.train_table"], "train_table", fail)
    assert run(folder) == {"error": why, "is_final": False}


def test_an_error_has_no_path_of_the_worker(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    bases = tmp_path_factory.mktemp("bases")
    (bases / "empty").mkdir()
    error = run(folder, start=str(bases / "empty"), preset="quick")["error"]
    assert "empty" in error
    assert str(bases) not in error


def test_what_a_killed_attempt_has_left_is_removed_unless_it_is_a_run(tmp_path: Path) -> None:
    run_, models = tmp_path / "runs" / "mine", tmp_path / "models"
    run_.mkdir(parents=True)
    models.mkdir()
    (run_ / "lock").write_text("1")
    job._clear(run_, models)
    assert not run_.exists()
    assert not models.exists()
    run_.mkdir()
    (run_ / "run.json").write_text("{}")
    job._clear(run_, models)
    assert run_.exists()
