"""Cross-validation and sweeps: several trainings that can be resumed, and a table of their figures."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.tiny import ROWS, tiny_classifier
from training.__main__ import main
from training.fit import Choice, Recipe
from training.workflow.sweep import describe, draw

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

FIRST = Choice("encoder", Recipe(epochs=10, batch_size=16, learning_rate=3e-4), ())


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_classifier(tmp_path_factory.mktemp("start"))


@pytest.fixture
def table(tmp_path: Path) -> Path:
    file = tmp_path / "rows.csv"
    with file.open("w", newline="") as stream:
        csv.writer(stream).writerows([("text", "label"), *((row.text, row.label) for row in ROWS)])
    return file


def settings(start: Path, folder: Path) -> list[str]:
    words = ["--start", str(start), "--runs", str(folder), "--epochs", "2", "--batch-size", "8", "--evaluations", "1"]
    return [*words, "--learning-rate", "1e-3"]


def test_cross_validation_measures_on_each_row_once(
    start: Path, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["cross-validate", str(table), "--folds", "3", *settings(start, tmp_path / "runs")]
    main(command)
    shown = capsys.readouterr().out
    assert "Fold 3 of 3" in shown
    table_of_folds = shown[shown.index("fold  rows") :].splitlines()
    assert [line.split()[0] for line in table_of_folds[1:5]] == ["1", "2", "3", "mean"]
    assert table_of_folds[4].split()[1] == "36"
    assert "±" in table_of_folds[4]
    with (tmp_path / "runs" / "rows-folds" / "predictions.csv").open(encoding="utf-8-sig", newline="") as file:
        assert sorted(int(row["line"]) for row in csv.DictReader(file)) == list(range(2, 38))
    main(command)  # finished trainings are not repeated
    again = capsys.readouterr().out
    assert again[again.index("fold  rows") :].splitlines() == table_of_folds
    assert "epoch" not in again


def test_a_sweep_compares_its_trials(
    start: Path, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["sweep", str(table), "--trials", "2", "--test", str(table), *settings(start, tmp_path / "runs")])
    trials = json.loads((tmp_path / "runs" / "rows-sweep" / "sweep.json").read_text())
    assert {trial["trial"] for trial in trials} == {"trial-1", "trial-2"}
    assert trials[0]["macro_f1"] >= trials[1]["macro_f1"]
    assert all(trial["recipe"]["epochs"] == 2 for trial in trials)  # it was given
    assert all(0 <= trial["test_macro_f1"] <= 1 for trial in trials)
    assert "--label-smoothing" in capsys.readouterr().out.splitlines()[-1]


def test_trials_are_drawn_from_the_seed_and_the_first_is_what_is_chosen() -> None:
    drawn = draw(FIRST, 8, given=set())
    assert drawn == draw(FIRST, 8, given=set())
    assert drawn[0] is FIRST
    assert len({describe(choice) for choice in drawn}) == 8
    assert {choice.start for choice in drawn} == {"encoder", "sentiment-en"}
    other = replace(FIRST, recipe=replace(FIRST.recipe, seed=8))
    assert drawn[1:] != draw(other, 8, given=set())[1:]


def test_what_is_given_is_the_same_in_all_trials() -> None:
    drawn = draw(FIRST, 8, given={"learning_rate", "batch_size"}, start="encoder")
    assert {(each.start, each.recipe.learning_rate, each.recipe.batch_size) for each in drawn} == {
        ("encoder", 3e-4, 16)
    }
