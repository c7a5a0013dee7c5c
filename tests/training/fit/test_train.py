"""A training on a few rows: it learns, records what it did, and resumes after an interruption."""

import json
import math
import os
import re
import shutil
import signal
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification

from app.inference.artifact import open_artifact
from app.inference.tokenizer import Tokenizer
from tests.support.tiny import ROWS, WORDS, tiny_classifier
from training.data import LABELS, Example
from training.errors import InputError
from training.evaluation import evaluate_target, open_targets, suite_examples
from training.fit import Interrupted, fine_tune
from training.fit.judge import Judge
from training.fit.learner import Learner
from training.fit.mixture import Row
from training.fit.ranges import Ranges
from training.fit.recipe import Recipe
from training.fit.run import Run

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

DEV = [
    Example(f"The {thing} is {word} {word}.", label, "dev")
    for label, words in WORDS.items()
    for word in words
    for thing in ("film", "room")
]
RECIPE = Recipe(epochs=2, batch_size=12, learning_rate=1e-3, label_smoothing=0.0, weights={"set": 30})


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_classifier(tmp_path_factory.mktemp("start"))


@pytest.fixture(scope="module")
def finished(start: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "run"
    fine_tune(start, run, ROWS, DEV, RECIPE)
    return run


def history(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]


def test_the_loss_falls_and_the_model_learns(finished: Path) -> None:
    losses = [entry["loss"] for entry in history(finished) if "loss" in entry]
    assert losses[-1] < 0.6 * losses[0]
    report = json.loads((finished / "report.json").read_text())
    assert report["dev"]["dev"]["accuracy"] > 0.9
    (target,) = open_targets(str(finished / "checkpoint"), "torch")
    assert evaluate_target(target, DEV).reports["dev"].accuracy == report["dev"]["dev"]["accuracy"]
    assert open_artifact(str(finished / "checkpoint")).labels == LABELS


def test_the_report_records_the_settings_and_the_data(finished: Path) -> None:
    report = json.loads((finished / "report.json").read_text())
    assert report["recipe"]["epochs"] == 2
    assert report["rows"] == {"set": 36}
    assert report["measured_on"]["sets"] == {"dev": 18}
    assert report["steps"] == 180 == history(finished)[-1]["step"]
    assert json.loads((finished / "checkpoint" / "training.json").read_text()) == report
    assert not (finished / "state.pt").exists()
    pictures = {file.name: file.stat().st_size for file in (finished / "plots").iterdir()}
    assert pictures.keys() == {"learning-curve.png", "reliability.png", "confusion.png"}
    assert min(pictures.values()) > 5000


def test_the_learning_rate_rises_and_falls(finished: Path) -> None:
    rates = [entry["learning_rate"] for entry in history(finished) if "learning_rate" in entry]
    assert max(rates) == pytest.approx(1e-3, rel=0.1)
    assert rates[-1] < 0.02 * max(rates)


@pytest.fixture(scope="module")
def averaged(start: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "averaged"
    fine_tune(start, run, ROWS, DEV, replace(RECIPE, average=0.5))
    return run


@pytest.mark.parametrize(("average", "first_step"), [(0.0, 10), (0.5, 120)])
def test_an_interrupted_run_resumes_with_the_same_result(
    start: Path,
    finished: Path,
    averaged: Path,
    tmp_path: Path,
    average: float,
    first_step: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run, recipe = tmp_path / "run", replace(RECIPE, average=average)
    record = Run.record

    def record_and_stop(self: Run, entry: dict[str, Any]) -> None:
        record(self, entry)
        if entry["step"] == first_step:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Run, "record", record_and_stop)
    with pytest.raises(Interrupted, match="of 180; run the same command again"):
        fine_tune(start, run, ROWS, DEV, recipe)
    monkeypatch.undo()
    assert (run / "state.pt").is_file()
    # A line from after the saved state, as a run that crashed later would leave it.
    with (run / "history.jsonl").open("a") as file:
        file.write('{"step": 179, "loss": 99}\n')

    fine_tune(start, run, ROWS, DEV, recipe)
    uninterrupted = averaged if average else finished
    ours, theirs = (load_file(each / "checkpoint" / "model.safetensors") for each in (run, uninterrupted))
    assert all(ours[name].equal(theirs[name]) for name in theirs)
    steps = [entry["step"] for entry in history(run) if "loss" in entry]
    assert steps == sorted(set(steps))
    assert 99 not in [entry.get("loss") for entry in history(run)]


def test_the_weights_of_the_last_steps_are_averaged(averaged: Path, finished: Path) -> None:
    mean, last = (load_file(run / "checkpoint" / "model.safetensors") for run in (averaged, finished))
    assert mean.keys() == last.keys()
    assert not all(mean[name].equal(last[name]) for name in last)
    assert json.loads((averaged / "report.json").read_text())["dev"]["dev"]["accuracy"] > 0.9


def test_a_missing_last_evaluation_is_done_on_resume(
    start: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Judge, "evaluate", fail)
        with pytest.raises(OSError, match="no space"):
            fine_tune(start, tmp_path / "run", ROWS, DEV, replace(RECIPE, epochs=1))
    fine_tune(start, tmp_path / "run", ROWS, DEV, replace(RECIPE, epochs=1))
    entries = history(tmp_path / "run")
    assert [entry["step"] for entry in entries if "loss" in entry] == list(range(10, 91, 10))
    assert [entry["step"] for entry in entries if "dev" in entry] == [90]


def test_a_run_is_finished_once_its_plots_are_drawn(
    start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("no space left on device")

    run, recipe = tmp_path / "run", replace(RECIPE, epochs=1, weights={})
    with monkeypatch.context() as patch:
        patch.setattr("training.fit.loop.draw_evaluations", fail)
        with pytest.raises(OSError, match="no space"):
            fine_tune(start, run, ROWS, DEV, recipe)
    fine_tune(start, run, ROWS, DEV, recipe)
    assert (run / "report.json").is_file()
    assert len([*(run / "plots").iterdir()]) == 3


def test_a_training_that_diverges_stops_at_once(start: Path, tmp_path: Path) -> None:
    recipe = replace(RECIPE, learning_rate=1e30)
    with pytest.raises(InputError, match=r"diverged after step \d: .* lower learning_rate"):
        fine_tune(start, tmp_path / "run", ROWS, DEV, recipe)


@pytest.mark.parametrize("step", [5, 6])  # within the second epoch, and at its end
def test_the_state_before_the_divergence_is_kept(
    start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    learn = Learner.learn

    def spoil(learner: Learner, rows: list[Row]) -> float:
        loss = learn(learner, rows)
        if learner.step == step:
            with torch.no_grad():
                learner.model.classifier.weight.fill_(torch.inf)
        return loss

    monkeypatch.setattr(Learner, "learn", spoil)
    with pytest.raises(InputError, match=f"diverged after step {step}"):
        fine_tune(start, tmp_path / "run", ROWS, DEV, replace(RECIPE, weights={}))
    state = torch.load(tmp_path / "run" / "state.pt", weights_only=True)
    assert state["step"] == 3
    assert all(weight.isfinite().all() for weight in state["learner"]["model"].values())


def test_the_weights_of_new_labels_depend_on_the_seed(start: Path, tmp_path: Path) -> None:
    rows, dev = ([replace(row, label=f"my {row.label}") for row in each] for each in (ROWS, DEV))
    for name, seed in (("one", 1), ("two", 1), ("other", 2)):
        fine_tune(start, tmp_path / name, rows, dev, replace(RECIPE, epochs=1, weights={}, seed=seed))
    one, two, other = (
        load_file(tmp_path / name / "checkpoint" / "model.safetensors") for name in ("one", "two", "other")
    )
    assert all(one[name].equal(two[name]) for name in one)
    # In three steps Adam changes a weight by at most three times the learning rate, so the initial weights differ.
    assert (one["classifier.weight"] - other["classifier.weight"]).abs().max() > 0.01


def test_texts_to_measure_on_are_not_trained_on(start: Path, tmp_path: Path) -> None:
    rows = [*ROWS, replace(DEV[0], source="set"), Example(suite_examples()[0].text.upper(), "positive", "set")]
    fine_tune(start, tmp_path / "run", rows, DEV, replace(RECIPE, epochs=1, weights={}))
    assert json.loads((tmp_path / "run" / "report.json").read_text())["rows"] == {"set": len(ROWS)}


def test_the_old_temperature_is_dropped(start: Path, tmp_path: Path) -> None:
    shutil.copytree(start, tmp_path / "calibrated")
    config = tmp_path / "calibrated" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"calibration_temperature": 2.5}))
    fine_tune(tmp_path / "calibrated", tmp_path / "run", ROWS, DEV, replace(RECIPE, epochs=1, weights={}))
    assert open_artifact(str(tmp_path / "run" / "checkpoint")).temperature == 1


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        (
            {"dev": [Example("So so.", "mixed", "dev")]},
            "dev: a row with the label mixed; the training has negative",
        ),
        ({"dev": [Example("So so.", None, "dev")]}, "dev: a row without a label"),
        ({"dev": []}, "--dev has no text to measure on"),
        ({"dev": [replace(row, source="all") for row in DEV]}, "a set to measure on cannot be called all"),
        ({"examples": [row for row in ROWS if row.label == "neutral"]}, "only one label: neutral"),
        ({"examples": [replace(row, label=None) for row in ROWS]}, "no text has a label"),
        ({"recipe": replace(RECIPE, max_tokens=1000)}, "max_tokens is 1000, but .* reads at most 512"),
        ({"recipe": replace(RECIPE, weights={"set": 0})}, "leave no text"),
    ],
)
def test_invalid_input_is_rejected_before_anything_is_written(
    start: Path, tmp_path: Path, changes: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        fine_tune(start, tmp_path / "run", **{"examples": ROWS, "dev": DEV, "recipe": RECIPE} | changes)
    assert not (tmp_path / "run").exists()


def test_a_weight_of_an_unknown_set_is_shown(start: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fine_tune(start, tmp_path / "run", ROWS, DEV, replace(RECIPE, epochs=1, weights={"sett": 2, "set": 0.5}))
    shown = [line.split() for line in capsys.readouterr().out.splitlines()[:3]]
    assert shown == [["set", "rows", "per", "epoch"], ["set", "36", "0.5"], ["sett", "none", "2"]]


def test_activations_stay_near_their_bound(start: Path, finished: Path, tmp_path: Path) -> None:
    bound = 2.5

    def excess(checkpoint: Path) -> float:
        model = AutoModelForSequenceClassification.from_pretrained(checkpoint).eval()
        tokenizer = Tokenizer.load(checkpoint, 512)
        with Ranges(model, bound) as ranges:
            for row in ROWS:
                model(torch.tensor([tokenizer.encode(row.text).ids]))
            return torch.as_tensor(ranges.penalty()).item()

    fine_tune(start, tmp_path / "run", ROWS, DEV, replace(RECIPE, max_activation=bound))
    assert excess(tmp_path / "run" / "checkpoint") < 0.5 * excess(finished / "checkpoint")
    assert json.loads((tmp_path / "run" / "report.json").read_text())["dev"]["dev"]["accuracy"] > 0.9


def test_lower_layers_learn_slower(start: Path, tmp_path: Path) -> None:
    fine_tune(start, tmp_path / "run", ROWS, DEV, replace(RECIPE, layer_decay=0.1, weights={}))
    before, after = (load_file(each / "model.safetensors") for each in (start, tmp_path / "run" / "checkpoint"))

    def moved(name: str) -> float:
        return float((after[name] - before[name]).abs().mean())

    layer = "distilbert.transformer.layer.{}.ffn.lin1.weight"
    assert 5 * moved(layer.format(0)) < moved(layer.format(1))
    assert 5 * moved(layer.format(1)) < moved("pre_classifier.weight")


def test_other_labels_get_a_new_head(start: Path, tmp_path: Path) -> None:
    rows = [replace(row, label="yes" if row.label == "positive" else "no") for row in ROWS]
    dev = [replace(row, label="yes" if row.label == "positive" else "no") for row in DEV]
    fine_tune(start, tmp_path / "run", rows, dev, RECIPE)
    assert open_artifact(str(tmp_path / "run" / "checkpoint")).labels == ("yes", "no")
    assert json.loads((tmp_path / "run" / "report.json").read_text())["dev"]["dev"]["accuracy"] > 0.9


@pytest.mark.parametrize(
    ("dev", "recipe", "complaint"),
    [
        (DEV, RECIPE, "holds a finished run"),
        (DEV, replace(RECIPE, seed=8), "with other settings"),
        (DEV[1:], RECIPE, "with other settings"),  # otherwise one learning curve would mix two development sets
    ],
)
def test_a_run_is_never_overwritten(
    start: Path, finished: Path, dev: list[Example], recipe: Recipe, complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        fine_tune(start, finished, ROWS, dev, recipe)


def test_a_directory_without_a_run_is_left_alone(start: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="does not hold a run"):
        fine_tune(start, tmp_path, ROWS, DEV, RECIPE)


FORGETS = replace(RECIPE, epochs=8, weights={}, learning_rate=3e-3, evaluations=8)


# Each label is another one than in training, so that a model which learns gets worse here, on any processor. With fewer
# rows, the differences between two evaluations would be chance.
NEXT = dict(zip(WORDS, [*list(WORDS)[1:], *WORDS], strict=False))
MANY_DEV = [replace(each, label=NEXT[each.label]) for each in DEV] * 30


@pytest.fixture(scope="module")
def early(start: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "early"
    fine_tune(start, run, ROWS, MANY_DEV, replace(FORGETS, patience=1, epochs=30, evaluations=30))
    return run


def evaluations(run: Path) -> list[dict[str, Any]]:
    return [entry for entry in history(run) if "dev" in entry]


def test_the_best_checkpoint_is_kept_with_its_epoch(early: Path) -> None:
    report = json.loads((early / "report.json").read_text())
    measured = {entry["step"]: entry for entry in evaluations(early)}
    chosen = measured[report["kept"]["step"]]
    assert report["kept"] == {"step": chosen["step"], "epoch": chosen["step"] / 3, "chosen_by": "best"}
    assert chosen["dev"]["dev"]["macro_f1"] == max(entry["dev"]["dev"]["macro_f1"] for entry in measured.values())
    (target,) = open_targets(str(early / "checkpoint"), "torch")
    again = evaluate_target(target, MANY_DEV).reports["dev"]
    assert (round(again.macro_f1, 4), round(again.nll, 4)) == (
        chosen["dev"]["dev"]["macro_f1"],
        chosen["dev"]["dev"]["loss"],
    )
    assert not (early / "checkpoint.new").exists()


def test_a_training_stops_when_it_gets_no_better(early: Path) -> None:
    report = json.loads((early / "report.json").read_text())
    assert report["steps"] < report["planned_steps"] == 90
    assert report["kept"]["step"] < report["steps"]  # the last evaluation was no better


def test_the_last_checkpoint_is_kept_if_that_is_asked_for(start: Path, tmp_path: Path) -> None:
    fine_tune(start, tmp_path / "run", ROWS, DEV, replace(FORGETS, keep="last", epochs=3))
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["kept"] == {"step": 9, "epoch": 3.0, "chosen_by": "last"}
    assert report["dev"]["dev"]["loss"] == evaluations(tmp_path / "run")[-1]["dev"]["dev"]["loss"]


@pytest.mark.parametrize("at", ["first", "best", "last"])
def test_an_interrupted_run_keeps_the_same_checkpoint_and_stops_as_early(
    start: Path, early: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    steps = [entry["step"] for entry in evaluations(early)]
    step = {"first": steps[0], "best": steps[-2], "last": steps[-1]}[at]
    record, recipe = Run.record, replace(FORGETS, patience=1, epochs=30, evaluations=30)

    def record_and_crash(self: Run, entry: dict[str, Any]) -> None:
        if "dev" in entry and entry["step"] == step:
            raise OSError("the machine lost its power")
        record(self, entry)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "record", record_and_crash)
        with pytest.raises(OSError, match="power"):
            fine_tune(start, tmp_path / "run", ROWS, MANY_DEV, recipe)
    fine_tune(start, tmp_path / "run", ROWS, MANY_DEV, recipe)
    ours, theirs = (load_file(each / "checkpoint" / "model.safetensors") for each in (tmp_path / "run", early))
    assert all(ours[name].equal(theirs[name]) for name in theirs)
    entries, expected = (
        [{key: value for key, value in entry.items() if key != "texts_per_s"} for entry in history(each)]
        for each in (tmp_path / "run", early)
    )
    assert entries == expected
    kept, expected_kept = (json.loads((each / "report.json").read_text())["kept"] for each in (tmp_path / "run", early))
    assert kept == expected_kept


def test_a_label_that_no_row_has_can_be_kept(start: Path, tmp_path: Path) -> None:
    rows, dev = ([row for row in each if row.label != "neutral"] for each in (ROWS, DEV))
    recipe = replace(RECIPE, epochs=1, weights={})
    fine_tune(start, tmp_path / "without", rows, dev, recipe)
    fine_tune(start, tmp_path / "with", rows, dev, replace(recipe, keep_labels=True))
    assert open_artifact(str(tmp_path / "without" / "checkpoint")).labels == ("negative", "positive")
    assert open_artifact(str(tmp_path / "with" / "checkpoint")).labels == LABELS


def test_the_report_has_the_figures_of_each_class_and_the_lowest_loss(start: Path, tmp_path: Path) -> None:
    fine_tune(start, tmp_path / "run", ROWS, DEV, replace(RECIPE, epochs=1, label_smoothing=0.3))
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["dev"]["dev"]["classes"].keys() == set(LABELS)
    assert report["dev"]["dev"]["classes"]["neutral"].keys() == {"rows", "precision", "recall", "f1"}
    assert report["lowest_loss"] == pytest.approx(-(0.8 * math.log(0.8) + 2 * 0.1 * math.log(0.1)), abs=1e-3)
    assert report["peak_memory_mb"] > 50
    assert min(entry["loss"] for entry in history(tmp_path / "run") if "loss" in entry) >= report["lowest_loss"]


def test_a_log_has_a_line_a_minute_with_the_time_left(
    start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("training.fit.progress._LINE_EVERY_S", 0.0)
    fine_tune(start, tmp_path / "run", ROWS, DEV, replace(RECIPE, epochs=1, weights={}))
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("step")]
    assert len(lines) == 3
    assert re.fullmatch(
        r"step 1 of 3 \(epoch 0\.3\): loss [\d.]+, learning rate [\de.-]+, [\d.]+ texts/s, at most \d+ s left", lines[0]
    )


def test_the_time_left_includes_the_trainings_that_follow(
    start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter(range(1000))
    monkeypatch.setattr("training.fit.progress._LINE_EVERY_S", 0.0)
    monkeypatch.setattr("training.fit.progress.time.perf_counter", lambda: float(next(clock)))
    fine_tune(start, tmp_path / "run", ROWS, DEV, replace(RECIPE, epochs=1, weights={}, trainings=2))
    left = re.findall(r"step (\d) of 3 .* at most (\d+) s left", capsys.readouterr().err)
    # A step takes a second of this clock.
    assert left == [("1", "5"), ("2", "4"), ("3", "3"), ("1", "2"), ("2", "1"), ("3", "0")]


def test_tensorboard_gets_the_figures_if_it_is_installed(
    start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[tuple[str, float, int]] = []

    class Writer:
        def __init__(self, directory: str, purge_step: int) -> None:
            assert (directory, purge_step) == (str(tmp_path / "run" / "tensorboard"), 0)

        def add_scalar(self, name: str, value: float, step: int) -> None:
            written.append((name, value, step))

        def close(self) -> None:
            written.append(("closed", 0, 0))

    monkeypatch.setattr("training.fit.run.importlib.util.find_spec", lambda _: object())
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", SimpleNamespace(SummaryWriter=Writer))
    fine_tune(start, tmp_path / "run", ROWS, DEV, replace(RECIPE, epochs=1, weights={}))
    names = {name for name, _, step in written if step == 3}
    assert {"train/loss", "train/learning_rate", "dev/macro_f1", "dev/loss", "epoch"} <= names
    assert written[-1][0] == "closed"
