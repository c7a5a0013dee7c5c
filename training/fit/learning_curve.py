"""The learning curve of a run, as a picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from training.fit.progress import AVERAGED_STEPS

_DPI = 120
_BLUE = "#2f6db5"


def draw_learning_curve(history: Sequence[Mapping[str, Any]], path: Path) -> Figure:
    """Write a PNG of loss, learning rate and accuracy over the steps; return its figure.

    Entries of `history` have `step` and either `loss` and `learning_rate`, or `dev`: figures by set, with `accuracy`.
    """
    losses = [entry for entry in history if "loss" in entry]
    evaluations = [entry for entry in history if "dev" in entry]
    figure = Figure(figsize=(9, 8), layout="constrained")
    loss, rate, accuracy = figure.subplots(3, sharex=True, height_ratios=(3, 1, 3))
    steps = [entry["step"] for entry in losses]
    loss.plot(steps, [entry["loss"] for entry in losses], color=_BLUE)
    loss.set(ylabel=f"training loss, mean of {AVERAGED_STEPS} steps", ylim=(0, None))
    rate.plot(steps, [entry["learning_rate"] for entry in losses], color=_BLUE)
    rate.set(ylabel="learning rate", ylim=(0, None))
    rate.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
    for name in sorted({name for entry in evaluations for name in entry["dev"]}):
        points = [(entry["step"], entry["dev"][name]) for entry in evaluations if name in entry["dev"]]
        percent = [100 * figures["accuracy"] for _, figures in points]
        label = f"{name}: {percent[-1]:.1f}"
        accuracy.plot([step for step, _ in points], percent, marker="o", markersize=4, label=label)
    accuracy.set(ylabel="accuracy, %", xlabel="step")
    if evaluations:
        accuracy.legend(frameon=False, title="at the end", loc="center left", bbox_to_anchor=(1, 0.5))
    for axes in (loss, rate, accuracy):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=_DPI)
    return figure
