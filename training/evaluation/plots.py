"""Pictures of a training and of what came of it. Each function writes one PNG and returns its figure."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")  # no display is needed, nor looked for

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from training.evaluation.measure import BINS, Report
from training.fit.progress import MEAN_OF

_DPI = 120
_BLUE, _LIGHT, _RED, _GREY = "#2f6db5", "#8fb4de", "#efb9b4", "#9a9a9a"


def learning_curve(
    history: Sequence[Mapping[str, Any]], evaluations: Sequence[Mapping[str, Any]], path: Path
) -> Figure:
    """Loss, learning rate and accuracy over the steps.

    `history` has a dict for every few steps with `step`, `loss`, a mean over steps before it, and `learning_rate`;
    `evaluations` one an evaluation with `step` and `accuracy`, a share by set.
    """
    figure = Figure(figsize=(9, 8), layout="constrained")
    loss, rate, accuracy = figure.subplots(3, sharex=True, height_ratios=(3, 1, 3))
    steps = [point["step"] for point in history]
    loss.plot(steps, [point["loss"] for point in history], color=_BLUE)
    loss.set(ylabel=f"training loss, mean of {MEAN_OF} steps", ylim=(0, None))
    rate.plot(steps, [point["learning_rate"] for point in history], color=_BLUE)
    rate.set(ylabel="learning rate", ylim=(0, None))
    rate.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
    for name in sorted({name for point in evaluations for name in point["accuracy"]}):
        points = [(point["step"], 100 * point["accuracy"][name]) for point in evaluations if name in point["accuracy"]]
        accuracy.plot(*zip(*points, strict=True), marker="o", markersize=4, label=f"{name}: {points[-1][1]:.1f}")
    accuracy.set(ylabel="accuracy, %", xlabel="step")
    if evaluations:
        accuracy.legend(frameon=False, title="at the end", loc="center left", bbox_to_anchor=(1, 0.5))
    for axes in (loss, rate, accuracy):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=_DPI)
    return figure


def reliability_diagram(reports: Mapping[str, Report], path: Path) -> Figure:
    """For each set: how often the model is right by how sure it is, and below it how many texts that concerns."""
    figure = Figure(figsize=(3.4 * len(reports) + 0.4, 4.8), layout="constrained")
    panels = figure.subplots(2, len(reports), squeeze=False, sharex=True, height_ratios=(3, 1))
    for (name, report), (upper, lower) in zip(reports.items(), panels.T, strict=True):
        filled = [(index, found) for index, found in enumerate(report.bins) if found.rows]
        places, width = [(index + 0.5) / BINS for index, _ in filled], 0.92 / BINS
        right = np.array([100 * found.accuracy for _, found in filled])
        sure = np.array([100 * found.confidence for _, found in filled])
        upper.bar(places, right, width, color=_BLUE, label="right")
        upper.bar(places, np.maximum(sure - right, 0), width, bottom=right, color=_RED, label="too sure")
        upper.bar(places, np.maximum(right - sure, 0), width, bottom=sure, color=_LIGHT, label="not sure enough")
        upper.plot([0, 1], [0, 100], color="black", linewidth=0.8, linestyle="--")
        upper.set(title=f"{name}\nECE {100 * report.ece:.1f} %", xlim=(0, 1), ylim=(0, 100))
        lower.bar(places, [found.rows for _, found in filled], width, color=_GREY)
        lower.set(xlabel="confidence", title=f"{report.rows} texts")
        lower.title.set_fontsize(9)
        for axes in (upper, lower):
            axes.spines[["top", "right"]].set_visible(False)
    panels[0, 0].set_ylabel("accuracy, %")
    panels[0, 0].legend(frameon=False, fontsize=8, loc="upper left")
    panels[1, 0].set_ylabel("texts")
    figure.savefig(path, dpi=_DPI)
    return figure


def confusion_matrices(reports: Mapping[str, Report], path: Path) -> Figure:
    """For each set: what is said of the texts of each class, in texts and in percent of the class."""
    figure = Figure(figsize=(3.2 * len(reports) + 0.6, 4.2), layout="constrained")
    for axes, (name, report) in zip(figure.subplots(1, len(reports), squeeze=False)[0], reports.items(), strict=True):
        _matrix(axes, report)
        axes.set_title(f"{name}\naccuracy {100 * report.accuracy:.1f} % of {report.rows}", fontsize=10)
    figure.axes[0].set_ylabel("true class")
    figure.savefig(path, dpi=_DPI)
    return figure


def _matrix(axes: Axes, report: Report) -> None:
    counts = np.array(report.confusion)
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    places = range(len(counts))
    axes.set_xticks(places, list(report.classes))
    axes.set_yticks(places, list(report.classes), rotation=90, va="center")
    axes.set_xlabel("predicted class")
    axes.tick_params(length=0)
    for row in places:
        for column in places:
            shown = f"{counts[row, column]}\n{100 * shares[row, column]:.0f} %"
            color = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, shown, ha="center", va="center", color=color)
