"""The learning curve of a run, as a picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from training.fit.progress import averaged_steps
from training.fit.selection import best

_DPI = 120
_BLUE, _GREY = "#2f6db5", "#9a9a9a"


def draw_learning_curve(
    history: Sequence[Mapping[str, Any]], path: Path, lowest_loss: float = 0.0, label_smoothing: float = 0.0
) -> Figure:
    """Write a PNG of the losses, the learning rate, and macro F1 over the steps; return its figure.

    Entries of `history` have `step` and either `loss` and `learning_rate`, or `epoch` and `dev`: figures by set. The
    loss of a training cannot fall below `lowest_loss`, which is drawn as a line.
    """
    losses = [entry for entry in history if "loss" in entry]
    evaluations = [entry for entry in history if "dev" in entry]
    sets = sorted({name for entry in evaluations for name in entry["dev"]})
    figure = Figure(figsize=(9, 8), layout="constrained")
    loss, rate, macro_f1 = figure.subplots(3, sharex=True, height_ratios=(3, 1, 3))
    steps = [entry["step"] for entry in losses]
    mean = f"training, mean of the last {averaged_steps(max(steps, default=0))} steps"
    loss.plot(steps, [entry["loss"] for entry in losses], color=_BLUE, label=mean)
    if lowest_loss:
        why = f"label smoothing of {label_smoothing:g}" if label_smoothing else "the teacher's scores"
        loss.axhline(lowest_loss, color=_GREY, linestyle="--", label=f"lowest possible in training, with {why}")
    for name in sets:
        xs, ys = _points(evaluations, name, "loss")
        loss.plot(xs, ys, marker="o", markersize=4, label=f"{name}, without label smoothing")
        xs, ys = _points(evaluations, name, "macro_f1")
        macro_f1.plot(xs, [100 * y for y in ys], marker="o", markersize=4, label=name)
    loss.set(ylabel="loss", ylim=(0, None))
    rate.plot(steps, [entry["learning_rate"] for entry in losses], color=_BLUE)
    rate.set(ylabel="learning rate", ylim=(0, None))
    rate.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
    macro_f1.set(ylabel="macro F1, %", xlabel="step")
    if chosen := best(history):
        shown = f"best: epoch {chosen['epoch']:g}, step {chosen['step']}"
        macro_f1.axvline(chosen["step"], color=_GREY, linestyle=":", label=shown)
    for axes in (loss, rate, macro_f1):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    loss.legend(frameon=False, fontsize=8)
    if evaluations:
        macro_f1.legend(frameon=False, fontsize=8, loc="lower right")
    figure.savefig(path, dpi=_DPI)
    return figure


def _points(evaluations: Sequence[Mapping[str, Any]], name: str, figure: str) -> tuple[list[int], list[float]]:
    points = [(entry["step"], entry["dev"][name][figure]) for entry in evaluations if name in entry["dev"]]
    return [step for step, _ in points], [value for _, value in points]
