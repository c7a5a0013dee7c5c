"""The temperature: fitted correctly, stored in the checkpoint, and without effect on labels."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import DistilBertConfig, DistilBertForSequenceClassification, PreTrainedTokenizerFast

from app.inference.artifact import open_artifact
from app.inference.scores import softmax
from tests.support.process import ROOT
from training.checkpoints.calibrate import calibrate_checkpoint, fit_temperature
from training.data import LABELS, Example
from training.evaluation.metrics import measure, score

ROWS = [
    Example(f"The {thing} is {word}.", label, source)
    for source, things in {"films": ("film", "actor", "plot"), "food": ("soup", "cook", "bread")}.items()
    for thing in things
    for label, words in {"good": ("great", "lovely", "fine"), "bad": ("awful", "poor", "dull")}.items()
    for word in words
]
# Held-out rows are harder: one row in six has the other label.
HELD_OUT = [
    row if number % 6 else Example(row.text, {"good": "bad", "bad": "good"}[row.label], row.source)
    for number, row in enumerate(ROWS)
]


def drawn(temperature: float, rows: int, classes: int = 3, seed: int = 0) -> tuple[NDArray, NDArray]:
    """Return logits, and labels drawn from their probabilities at this temperature."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 4, (rows, classes))
    noise = rng.gumbel(size=logits.shape)
    return logits, (logits / temperature + noise).argmax(axis=1)


class TestFit:
    @pytest.mark.parametrize("temperature", [0.5, 1.0, 1.7, 4.0])
    def test_the_true_temperature_is_recovered(self, temperature: float) -> None:
        assert fit_temperature([drawn(temperature, 200_000)]) == pytest.approx(temperature, rel=0.02)

    def test_it_has_the_lowest_loss(self) -> None:
        logits, truth = drawn(2.0, 300)
        best = fit_temperature([(logits, truth)])

        def loss(temperature: float) -> float:
            return measure(score(softmax(logits / temperature), truth), LABELS).nll

        assert loss(best) < min(loss(0.99 * best), loss(1.01 * best))

    def test_each_set_has_the_same_weight(self) -> None:
        small, large = drawn(1.0, 20_000), drawn(4.0, 200_000, seed=1)
        together = fit_temperature([small, large])
        copies = (np.tile(small[0], (10, 1)), np.tile(small[1], 10))
        assert together == pytest.approx(fit_temperature([copies, large]), rel=1e-4)
        assert fit_temperature([small]) < together < fit_temperature([large])

    def test_a_class_that_the_set_lacks_is_ignored(self) -> None:
        (logits, truth), rng = drawn(3.0, 100_000, classes=2), np.random.default_rng(1)
        wide = np.insert(logits, 1, rng.normal(0, 9, len(logits)), axis=1)
        assert fit_temperature([(wide, 2 * truth)]) == pytest.approx(3.0, rel=0.02)

    def test_labels_stay_and_the_calibration_error_falls(self) -> None:
        logits, truth = drawn(3.0, 20_000)
        after = softmax(logits / fit_temperature([(logits, truth)]))
        assert (after.argmax(axis=1) == logits.argmax(axis=1)).all()
        assert measure(score(softmax(logits), truth), LABELS).ece > 0.1
        assert measure(score(after, truth), LABELS).ece < 0.01

    def test_a_low_temperature_is_found(self) -> None:
        logits, truth = drawn(0.04, 20_000)
        assert fit_temperature([(logits, truth)]) == pytest.approx(0.04, rel=0.1)

    def test_if_all_rows_are_right_one_error_is_assumed(self) -> None:
        few, many = (np.eye(3)[np.arange(rows) % 3] * 4 for rows in (18, 600))
        for values in (few, many):
            truth = values.argmax(axis=1)
            after = softmax(values / fit_temperature([(values, truth)]))
            assert after.max(axis=1).mean() == pytest.approx(1 - 1 / (len(values) + 2), abs=1e-3)

    def test_labels_that_contradict_the_logits_have_none_either(self) -> None:
        with pytest.raises(ValueError, match="there is no best temperature"):
            fit_temperature([(-np.eye(3) * 4, np.arange(3))])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small classifier, as `save_pretrained` writes it, that is overfitted to `ROWS`."""
    directory = tmp_path_factory.mktemp("checkpoint")
    torch.manual_seed(0)
    sizes = {"vocab_size": 21_000, "dim": 32, "n_heads": 2, "n_layers": 1, "hidden_dim": 32}
    names = {"id2label": {0: "BAD", 1: "GOOD"}, "label2id": {"BAD": 0, "GOOD": 1}}
    model = DistilBertForSequenceClassification(DistilBertConfig(**sizes, **names))
    tokenizer = PreTrainedTokenizerFast.from_pretrained(open_artifact("sentiment-en").directory)
    batch = tokenizer([row.text for row in ROWS], padding=True, return_tensors="pt")
    labels = torch.tensor([("bad", "good").index(row.label) for row in ROWS])
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    for _ in range(30):
        model(batch["input_ids"], batch["attention_mask"], labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


@pytest.fixture
def checkpoint(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "checkpoint"))


class TestCalibrate:
    def test_the_temperature_is_added_to_the_config(self, checkpoint: Path) -> None:
        before = json.loads((checkpoint / "config.json").read_text())
        found = calibrate_checkpoint(checkpoint, HELD_OUT)
        temperature, reports = found.temperature, found.reports
        assert json.loads((checkpoint / "config.json").read_text()) == before | {"calibration_temperature": temperature}
        assert list(reports) == ["films", "food"]
        assert temperature > 1
        assert sum(after.nll for _, after in reports.values()) < sum(raw.nll for raw, _ in reports.values())
        assert all(raw.confusion == after.confusion for raw, after in reports.values())
        assert open_artifact(str(checkpoint)).labels == ("bad", "good")

    def test_calibrating_twice_gives_the_same_result(self, checkpoint: Path) -> None:
        first = calibrate_checkpoint(checkpoint, HELD_OUT)
        content = (checkpoint / "config.json").read_bytes()
        assert calibrate_checkpoint(checkpoint, HELD_OUT) == first
        assert (checkpoint / "config.json").read_bytes() == content

    def test_loss_and_error_are_said_before_and_after(self, checkpoint: Path) -> None:
        found = calibrate_checkpoint(checkpoint, HELD_OUT)
        (loss, new_loss), (error, new_error) = found.change.values()
        assert new_loss < loss
        shown = f"calibration error {100 * error:.1f} %, and {100 * new_error:.1f} % with it."
        assert found.comparison.startswith(f"Loss {loss:.3f}, and {new_loss:.3f} with it; {shown}")
        assert ("This error grew" in found.comparison) == (new_error > error)
        # It is not said of a loss that grew, too.
        worse = replace(found, reports={name: (new, old) for name, (old, new) in found.reports.items()})
        assert "This error grew" not in worse.comparison

    @pytest.mark.parametrize(("errors", "is_said"), [((0.1, 0.2), True), ((0.2, 0.1), False)])
    def test_an_error_that_grew_is_explained(
        self, checkpoint: Path, errors: tuple[float, float], *, is_said: bool
    ) -> None:
        found = calibrate_checkpoint(checkpoint, HELD_OUT)
        reports = {
            name: tuple(replace(report, ece=error) for report, error in zip(pair, errors, strict=True))
            for name, pair in found.reports.items()
        }
        changed = replace(found, reports=reports)  # type: ignore[arg-type]
        assert ("This error grew" in changed.comparison) == is_said

    def test_an_artifact_is_not_changed(self) -> None:
        with pytest.raises(ValueError, match="calibrate before export"):
            calibrate_checkpoint(open_artifact("sentiment-en").directory, ROWS)

    def test_a_label_that_the_model_lacks_is_rejected(self, checkpoint: Path) -> None:
        with pytest.raises(ValueError, match="films: a row with the label so-so; the model has bad, good"):
            calibrate_checkpoint(checkpoint, [Example("It is there.", "so-so", "films")])

    def test_the_command_prints_what_changed(self, checkpoint: Path, tmp_path: Path) -> None:
        data = tmp_path / "films.tsv"
        data.write_text("label\ttext\n" + "".join(f"{row.label}\t{row.text}\n" for row in HELD_OUT))
        words = [sys.executable, "-m", "training", "calibrate", str(checkpoint), "--data", str(data)]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
        temperature = json.loads((checkpoint / "config.json").read_text())["calibration_temperature"]
        first, header, line, finding, comparison = done.stdout.splitlines()
        assert first == f"temperature {temperature}"
        assert header.split() == ["set", "rows", "NLL", "after", "ECE,", "%", "after"]
        name, rows, raw, after = line.split()[:4]
        assert (name, rows) == ("films", "36")
        assert float(after) < float(raw)
        assert re.match(r"The model was (far )?too sure: mean confidence .* on 36 rows\. With the temperature", finding)
        assert comparison.startswith("Loss ")
