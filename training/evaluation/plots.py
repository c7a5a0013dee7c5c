"""Pictures of an evaluation. Functions that write a single PNG return its figure."""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager, get_font
from rich.cells import cell_len

from training.evaluation.evaluation import Evaluation
from training.evaluation.metrics import BINS, Report

_DPI = 120
_SMALL = 6  # classes, whose cells have room for percentages
_CELL, _MARGIN = 0.32, 1.3  # inches of a class, and beside the cells
_LONGEST = 30  # characters of a label in a picture
_DEFAULT_FONT = "DejaVu Sans"  # comes with matplotlib
_BLUE, _LIGHT, _RED, _GREY = "#2f6db5", "#8fb4de", "#efb9b4", "#9a9a9a"


def draw_evaluations(evaluations: Sequence[Evaluation], directory: Path, when: str = "") -> None:
    """Write a reliability diagram and confusion matrices of each target to `directory`.

    `when` says in the pictures after which epoch they were measured.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for evaluation in evaluations:
        target = re.sub(r"\W+", "-", evaluation.target.removeprefix("http://")).strip("-")
        prefix = f"{target}-" if len(evaluations) > 1 else ""
        reliability_diagram(evaluation.reports, directory / f"{prefix}reliability.png", when)
        confusion_matrices(evaluation.reports, directory / f"{prefix}confusion.png", when)


def reliability_diagram(reports: Mapping[str, Report], path: Path, when: str = "") -> Figure:
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
    if when:
        figure.suptitle(when)
    figure.savefig(path, dpi=_DPI)
    return figure


def confusion_matrices(reports: Mapping[str, Report], path: Path, when: str = "") -> Figure:
    """Draw the confusion matrix of each set: number of texts, and percent of the true class.

    The picture grows with the number of classes, so that each label and each number can be read.
    """
    sides = [max(3.2, _CELL * len(report.classes) + _MARGIN) for report in reports.values()]
    longest = max(cell_len(label) for report in reports.values() for label in report.classes)
    room = min(longest, _LONGEST) * 0.085 if max(map(_is_large, reports.values())) else 0.4
    figure = Figure(figsize=(sum(sides) + room, max(sides) + room + 0.6), layout="constrained")
    panels = figure.subplots(1, len(reports), squeeze=False, width_ratios=sides)[0]
    for axes, (name, report) in zip(panels, reports.items(), strict=True):
        _matrix(axes, report)
        axes.set_title(f"{name}\naccuracy {100 * report.accuracy:.1f} % of {report.rows}", fontsize=10)
    panels[0].set_ylabel("true class")
    if when:
        figure.suptitle(when)
    figure.savefig(path, dpi=_DPI)
    return figure


def _is_large(report: Report) -> bool:
    return len(report.classes) > _SMALL


def _matrix(axes: Axes, report: Report) -> None:
    counts = np.array(report.confusion)
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    labels, fonts = shown_labels(list(report.classes))
    places, large = range(len(counts)), _is_large(report)
    axes.set_xticks(places, labels, rotation=90 if large else 0, family=fonts)
    axes.set_yticks(places, labels, rotation=0 if large else 90, va="center", family=fonts)
    axes.set_xlabel("predicted class")
    axes.tick_params(length=0, labelsize=8 if large else 10)
    for row in places:
        for column in places:
            if large and not counts[row, column]:
                continue  # most cells are 0, which hides the others
            percent = "" if large else f"\n{100 * shares[row, column]:.0f} %"
            color = "white" if shares[row, column] > 0.5 else "black"
            axes.text(
                column,
                row,
                f"{counts[row, column]}{percent}",
                ha="center",
                va="center",
                color=color,
                fontsize=8 if large else 10,
            )


def shown_labels(labels: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return labels as a picture can show them, and the fonts for them.

    A label whose characters no installed font has becomes its number, from 1, in the order of the table of classes.
    """
    fonts = [_DEFAULT_FONT]
    shown = []
    for number, label in enumerate(labels, 1):
        text = label if len(label) <= _LONGEST else label[: _LONGEST - 1] + "…"
        font = _font_with(frozenset(text) - {" "})
        if font and font not in fonts:
            fonts.append(font)
        # A dollar sign would begin a formula.
        shown.append(text.replace("$", r"\$") if font else f"no. {number}")
    return shown, fonts


@cache
def _font_with(characters: frozenset[str]) -> str | None:
    """Return the name of a font that has all of these characters: the default one, if it has."""
    codes = set(map(ord, characters))
    for name, file in _fonts():
        try:
            if codes <= get_font(file).get_charmap().keys():
                return name
        except (OSError, RuntimeError):  # a broken font of the system
            continue
    return None


@cache
def _fonts() -> list[tuple[str, str]]:
    files = [(font.name, font.fname) for font in fontManager.ttflist if not font.name.startswith("Last Resort")]
    return sorted(files, key=lambda font: (font[0] != _DEFAULT_FONT, font))
