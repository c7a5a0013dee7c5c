"""Pictures of an evaluation. Functions that write a single PNG return its figure."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from training.evaluation.evaluation import Evaluation
from training.evaluation.metrics import BINS, Report

_DPI = 120
_BLUE, _LIGHT, _RED, _GREY = "#2f6db5", "#8fb4de", "#efb9b4", "#9a9a9a"


def draw_evaluations(evaluations: Sequence[Evaluation], directory: Path) -> None:
    """Write a reliability diagram and confusion matrices of each target to `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    for evaluation in evaluations:
        target = re.sub(r"\W+", "-", evaluation.target.removeprefix("http://")).strip("-")
        prefix = f"{target}-" if len(evaluations) > 1 else ""
        reliability_diagram(evaluation.reports, directory / f"{prefix}reliability.png")
        confusion_matrices(evaluation.reports, directory / f"{prefix}confusion.png")


def reliability_diagram(reports: Mapping[str, Report], path: Path) -> Figure:
    """Draw the accuracy of each set by confidence, and below it the number of texts."""
    figure = Figure(figsize=(3.4 * len(reports) + 0.4, 4.8), layout="constrained")
    panels = figure.subplots(2, len(reports), squeeze=False, sharex=True, height_ratios=(3, 1))
    for (name, report), (upper, lower) in zip(reports.items(), panels.T, strict=True):
        filled = [(index, each) for index, each in enumerate(report.bins) if each.rows]
        places, width = [(index + 0.5) / BINS for index, _ in filled], 0.92 / BINS
        accuracy = np.array([100 * each.accuracy for _, each in filled])
        confidence = np.array([100 * each.confidence for _, each in filled])
        upper.bar(places, accuracy, width, color=_BLUE, label="correct")
        over, under = np.maximum(confidence - accuracy, 0), np.maximum(accuracy - confidence, 0)
        upper.bar(places, over, width, bottom=accuracy, color=_RED, label="overconfident")
        upper.bar(places, under, width, bottom=confidence, color=_LIGHT, label="underconfident")
        upper.plot([0, 1], [0, 100], color="black", linewidth=0.8, linestyle="--")
        upper.set(title=f"{name}\nECE {100 * report.ece:.1f} %", xlim=(0, 1), ylim=(0, 100))
        lower.bar(places, [each.rows for _, each in filled], width, color=_GREY)
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
    """Draw the confusion matrix of each set: number of texts, and percent of the true class."""
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
