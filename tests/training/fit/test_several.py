"""Several trainings, whose mean is taken."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.support.tiny import ROWS, tiny_classifier
from training.data import Example
from training.fit import FinishedRun, Recipe, fine_tune

RECIPE = Recipe(epochs=2, batch_size=12, learning_rate=1e-3, trainings=3)
TRAIN, DEV = ROWS[:-6], [replace(row, source="dev") for row in ROWS[-6:]]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_classifier(tmp_path_factory.mktemp("start"))


def train(start: Path, run: Path, recipe: Recipe = RECIPE, rows: list[Example] | None = None) -> None:
    fine_tune(start, run, rows or TRAIN, DEV, recipe)


def weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    return {name: value.float() for name, value in load_file(checkpoint / "model.safetensors").items()}


def test_the_checkpoint_is_the_mean_of_trainings_that_differ_in_their_seed(start: Path, tmp_path: Path) -> None:
    train(start, tmp_path / "run")
    alone = []
    for number in range(3):
        train(start, tmp_path / f"{number}", replace(RECIPE, trainings=1, seed=RECIPE.seed + number))
        alone.append(weights(tmp_path / f"{number}" / "checkpoint"))
    for name, value in weights(tmp_path / "run" / "checkpoint").items():
        torch.testing.assert_close(value, torch.stack([each[name] for each in alone]).mean(dim=0))
    assert not torch.equal(alone[0]["classifier.weight"], alone[1]["classifier.weight"])


def test_the_report_has_the_figures_of_the_mean_and_of_each(start: Path, tmp_path: Path) -> None:
    evaluation = fine_tune(start, tmp_path / "run", TRAIN, DEV, RECIPE)
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["dev"]["dev"]["loss"] == pytest.approx(evaluation.reports["dev"].nll, abs=1e-4)
    assert len({each["dev"]["loss"] for each in report["trainings"]}) == 3


@pytest.mark.parametrize("left", ["trainings/3/checkpoint", "checkpoint"])
def test_what_was_interrupted_goes_on(start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: str) -> None:
    train(start, tmp_path / "whole")

    def fail(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    name = "average_checkpoints" if left == "checkpoint" else "rmtree"
    with monkeypatch.context() as patch:
        patch.setattr(f"training.fit.several.{name}", fail)
        with pytest.raises(KeyboardInterrupt):
            train(start, tmp_path / "run")
    train(start, tmp_path / "run")
    one, other = (weights(tmp_path / name / "checkpoint") for name in ("whole", "run"))
    for name, value in one.items():
        torch.testing.assert_close(value, other[name])


def test_a_finished_run_is_not_repeated(start: Path, tmp_path: Path) -> None:
    train(start, tmp_path / "run")
    with pytest.raises(FinishedRun):
        train(start, tmp_path / "run")
