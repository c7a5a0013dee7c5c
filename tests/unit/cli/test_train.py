"""`rt-sentiment train` starts the steps in a process of their own and answers with its exit status."""

import importlib.util
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from app.cli import train as module
from tests.support.command import run


class Recorded:
    """Records the command instead of the steps of a training."""

    def __init__(self, code: str = "pass") -> None:
        self.code, self.arguments = code, []

    def __call__(self, words: list[str], **_: Any) -> subprocess.Popen[bytes]:
        self.arguments = words[1:]
        return Popen([sys.executable, "-c", self.code])


Popen = subprocess.Popen


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    steps = Recorded()
    monkeypatch.setattr("app.cli.train.subprocess.Popen", steps)
    return steps


def test_the_flags_reach_the_steps(recorded: Recorded) -> None:
    words = ["reviews.csv", "--text-column", "review", "--epochs", "3", "--name", "stars", "--class-weights"]
    assert run("train", *words) == 0
    assert recorded.arguments[:3] == ["-m", "training", "all"]
    flags = recorded.arguments[3:]
    assert flags[0] == "reviews.csv"
    for pair in (["--text-column", "review"], ["--name", "stars"], ["--epochs", "3"]):
        assert flags[flags.index(pair[0]) : flags.index(pair[0]) + 2] == pair
    assert "--class-weights" in flags


def test_a_flag_of_the_steps_may_come_before_the_file(recorded: Recorded) -> None:
    assert run("train", "--epochs", "3", "--name", "stars", "reviews.csv") == 0
    assert recorded.arguments[3:] == ["--epochs", "3", "reviews.csv", "--name", "stars"]


def test_all_flags_are_shown_by_the_steps(recorded: Recorded) -> None:
    assert run("train", "--help-all") == 0
    assert recorded.arguments == ["-m", "training", "all", "--help-all"]


def test_the_first_page_of_help_has_five_flags_and_starts_nothing(
    recorded: Recorded, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("train", "--help") == 0
    shown = capsys.readouterr().out
    flags = [line.split()[0] for line in shown.splitlines() if line.startswith("  -")]
    assert flags == ["--text-column", "--label-column", "--name", "--dev", "--preset", "--help-all", "-h,"]
    assert recorded.arguments == []


def test_the_file_is_needed(recorded: Recorded) -> None:
    assert run("train") == 2
    assert recorded.arguments == []


@pytest.mark.parametrize(("code", "status"), [("raise SystemExit(7)", 7), ("import os; os.kill(os.getpid(), 9)", 1)])
def test_the_exit_status_is_that_of_the_steps(recorded: Recorded, code: str, status: int) -> None:
    recorded.code = code
    assert run("train", "reviews.csv") == status


def test_sigterm_is_handed_on(recorded: Recorded, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    recorded.code = f"""
import pathlib, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
pathlib.Path({str(ready)!r}).touch()
time.sleep(60)
"""

    def stop() -> None:
        while not ready.exists():
            threading.Event().wait(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    threading.Thread(target=stop).start()
    assert run("train", "reviews.csv") == 130
    assert signal.getsignal(signal.SIGTERM) is before


def test_without_the_code_for_training_the_message_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert run("train", "reviews.csv") == 1
    assert "run this command in a clone of the repository" in capsys.readouterr().err


def test_the_presets_in_the_help_are_those_that_exist() -> None:
    from training.fit.choice import PRESETS

    (option,) = (each for each in module.train.params if each.name == "preset")
    assert f"auto, {', '.join(name for name in PRESETS if name != 'auto')}" in option.help
