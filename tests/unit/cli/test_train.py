"""`rt-sentiment train` becomes the process of the steps."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from app.cli import train as module
from tests.support.command import run

ROOT = Path(__file__).parents[3]


class Started(Exception):
    """The process has become that of the steps."""


class Recorded:
    """Records the command instead of becoming it."""

    def __init__(self) -> None:
        self.arguments: list[str] = []

    def __call__(self, program: str, words: list[str]) -> NoReturn:
        assert program == words[0] == sys.executable
        self.arguments = words[1:]
        raise Started


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    steps = Recorded()
    monkeypatch.setattr("app.cli.train.os.execv", steps)
    return steps


def start(*words: str) -> None:
    with pytest.raises(Started):
        run("train", *words)


def test_the_flags_reach_the_steps(recorded: Recorded) -> None:
    words = ["reviews.csv", "--text-column", "review", "--epochs", "3", "--name", "stars", "--class-weights"]
    start(*words)
    assert recorded.arguments[:3] == ["-m", "training", "all"]
    flags = recorded.arguments[3:]
    assert flags[0] == "reviews.csv"
    for pair in (["--text-column", "review"], ["--name", "stars"], ["--epochs", "3"]):
        assert flags[flags.index(pair[0]) : flags.index(pair[0]) + 2] == pair
    assert "--class-weights" in flags


def test_a_flag_of_the_steps_may_come_before_the_file(recorded: Recorded) -> None:
    start("--epochs", "3", "--name", "stars", "reviews.csv")
    assert recorded.arguments[3:] == ["--epochs", "3", "reviews.csv", "--name", "stars"]


def test_all_flags_are_shown_by_the_steps(recorded: Recorded) -> None:
    start("--help-all")
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


def test_the_steps_take_the_place_of_the_command() -> None:
    code = "import sys; from app.cli import main; sys.argv[1:] = ['train', 'nowhere.csv']; main()"
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (1, "rt-sentiment train: nowhere.csv: no such file\n")


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
