"""Evaluations as tables for a terminal."""

from collections.abc import Sequence

from training.evaluation.evaluation import Evaluation
from training.evaluation.metrics import Report

_HEADER = (
    "set", "rows", "target",
    "accuracy", "95 %", "macro F1", "macro recall", "ECE", "of all classes", "ECE", "other label",
)  # fmt: skip
_TEXT = {0, 2}  # columns that are aligned to the left


def overview(evaluations: Sequence[Evaluation]) -> str:
    """Return a block per set with a line per target, in percent: over the classes of the set, then over all classes."""
    first = evaluations[0]
    others = [evaluation.other_labels(first) for evaluation in evaluations]
    rows = []
    for name, report in first.reports.items():
        for evaluation, other in zip(evaluations, others, strict=True):
            new = evaluation is first
            shown = "" if new else f"{100 * other[name]:.2f}"
            head = (name, f"{report.rows}") if new else ("", "")
            rows.append((*head, evaluation.target, *_figures(evaluation.reports[name]), shown))
    return aligned([_HEADER, *rows], _TEXT)


def _figures(report: Report) -> tuple[str, ...]:
    low, high = report.interval
    return (
        f"{100 * report.accuracy:.2f}",
        f"{100 * low:.1f}-{100 * high:.1f}",
        f"{100 * report.macro_f1:.2f}",
        f"{100 * report.macro_recall:.2f}",
        f"{100 * report.ece:.2f}",
        f"{100 * report.accuracy_of_all:.2f}",
        f"{100 * report.ece_of_all:.2f}",
    )


def confusions(evaluations: Sequence[Evaluation]) -> str:
    """Return the confusion matrix of each target on each set."""
    parts = []
    for name in evaluations[0].reports:
        for evaluation in evaluations:
            report = evaluation.reports[name]
            rows = [["true \\ predicted", *report.classes, "F1"]]
            for (label, figures), counts in zip(report.classes.items(), report.confusion, strict=True):
                rows.append([label, *map(str, counts), f"{100 * figures.f1:.2f}"])
            parts.append(f"\n{name}: {evaluation.target}\n{aligned(rows, {0})}")
    return "\n".join(parts)


def aligned(rows: Sequence[Sequence[str]], text: set[int]) -> str:
    """Align columns. Those whose numbers are in `text` are aligned to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(
            cell.ljust(width) if number in text else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)
