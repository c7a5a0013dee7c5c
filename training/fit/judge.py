"""Measures the model during a training, and keeps the best checkpoint."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from shutil import rmtree
from typing import Any

from tqdm import tqdm
from transformers import AutoTokenizer

from training.data import Example
from training.evaluation import Evaluation, evaluate_target, open_targets
from training.fit.recipe import Recipe
from training.fit.run import Run
from training.fit.selection import best, is_over

_SHOWN = {"accuracy": "accuracy", "macro_f1": "macro F1", "ece": "calibration error"}
_FIGURES = {"accuracy": "accuracy", "macro_f1": "macro_f1", "macro_recall": "macro_recall", "ece": "ece", "loss": "nll"}


class Judge:
    """Decides when a training is measured, which checkpoint is kept, and when the training is over."""

    def __init__(
        self, run: Run, start: Path, dev: Sequence[Example], recipe: Recipe, *, steps: int, epoch_steps: int
    ) -> None:
        self._run, self._start, self._dev, self._recipe = run, start, dev, recipe
        self._epoch_steps = epoch_steps
        times = min(recipe.evaluations or recipe.epochs, steps)
        self._due = {round(number * steps / times) for number in range(1, times)}  # the last step is always measured
        self._kept: Evaluation | None = None

    def is_due(self, step: int) -> bool:
        return step in self._due

    @property
    def is_over(self) -> bool:
        """Whether the training should stop early."""
        return is_over(self._run.history(), self._recipe.patience)

    def evaluate(self, model: Any, step: int) -> None:
        """Write a checkpoint, load and measure it, and keep it if it is to be kept."""
        fresh = self._run.directory / "checkpoint.new"
        model.save_pretrained(fresh)
        AutoTokenizer.from_pretrained(self._start).save_pretrained(fresh)
        evaluation = self._measure(fresh)
        entry = {"step": step, "epoch": round(step / self._epoch_steps, 2), "dev": figures(evaluation)}
        if self._recipe.keep == "last" or best([*self._run.history(), entry]) is entry:
            rmtree(self._run.checkpoint, ignore_errors=True)
            fresh.rename(self._run.checkpoint)
            self._kept = evaluation
        else:
            rmtree(fresh)
        self._run.record(entry)
        for name, each in entry["dev"].items():
            shown = ", ".join(f"{figure} {100 * each[key]:.1f} %" for key, figure in _SHOWN.items())
            tqdm.write(f"  epoch {entry['epoch']:g}, {name}: {shown}, loss {each['loss']:.3f}")

    def result(self) -> tuple[Evaluation, Mapping[str, Any]]:
        """Return the evaluation of the checkpoint that was kept, and its entry in the history."""
        history = [entry for entry in self._run.history() if "dev" in entry]
        chosen = history[-1] if self._recipe.keep == "last" else best(history)
        assert chosen is not None
        # A training that was resumed may have measured it before it was interrupted.
        return self._kept or self._measure(self._run.checkpoint), chosen

    def _measure(self, checkpoint: Path) -> Evaluation:
        (target,) = open_targets(str(checkpoint), "torch")
        return evaluate_target(target, self._dev)


def figures(evaluation: Evaluation) -> dict[str, dict[str, Any]]:
    """Return the main figures of each set.

    `loss` is the mean of -log p of the true label, without label smoothing. `margin` is the margin of error of the
    accuracy: half of its 95 % interval.
    """
    return {
        name: _rounded(
            {shown: getattr(report, field) for shown, field in _FIGURES.items()}
            | {"margin": (report.interval[1] - report.interval[0]) / 2}
        )
        for name, report in evaluation.reports.items()
    }


def figures_by_class(evaluation: Evaluation) -> dict[str, dict[str, Any]]:
    """Return the figures of each set and of each of its classes, for report.json."""
    return {
        name: each
        | {"classes": {label: _rounded(asdict(one)) for label, one in evaluation.reports[name].classes.items()}}
        for name, each in figures(evaluation).items()
    }


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in values.items()}
