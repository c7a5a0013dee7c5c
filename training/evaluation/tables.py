"""Evaluations as tables for a terminal."""

from collections.abc import Sequence

from rich.cells import cell_len

from training.evaluation.evaluation import Evaluation
from training.evaluation.metrics import Report

_HEADER = (
    "set", "rows", "target",
    "accuracy", "95 %", "macro F1", "macro recall", "ECE", "of all classes", "ECE", "other label",
)  # fmt: skip
_MOST_COLUMNS = 12  # of a confusion matrix in a terminal
_CONFUSIONS = 20
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


def classes(report: Report) -> str:
    """Return a line for each class, in percent, with the rarest classes last."""
    ordered = sorted(report.classes.items(), key=lambda item: -item[1].rows)
    rows = [
        (label, f"{each.rows}", *(f"{100 * value:.1f}" for value in (each.precision, each.recall, each.f1)))
        for label, each in ordered
    ]
    return aligned([("class", "rows", "precision", "recall", "F1"), *rows], {0})


def confusions(evaluations: Sequence[Evaluation]) -> str:
    """Return the confusion matrix of each target on each set, or the most frequent confusions of many classes."""
    parts = []
    for name in evaluations[0].reports:
        for evaluation in evaluations:
            shown = show_confusion(evaluation.reports[name])
            parts.append(f"\n{name}: {evaluation.target}\n{shown}")
    return "\n".join(parts)


def show_confusion(report: Report) -> str:
    """Return the confusion matrix, or the most frequent confusions if there are too many classes for a terminal."""
    if len(report.classes) > _MOST_COLUMNS:
        return _frequent_confusions(report)
    rows = [["true \\ predicted", *report.classes, "F1"]]
    for (label, figures), counts in zip(report.classes.items(), report.confusion, strict=True):
        rows.append([label, *map(str, counts), f"{100 * figures.f1:.2f}"])
    return aligned(rows, {0})


def _frequent_confusions(report: Report) -> str:
    labels = list(report.classes)
    pairs = [
        (count, true, predicted)
        for true, counts in enumerate(report.confusion)
        for predicted, count in enumerate(counts)
        if count and true != predicted
    ]
    pairs.sort(reverse=True)
    rows = [
        (labels[true], labels[predicted], f"{count}", f"{100 * count / report.classes[labels[true]].rows:.0f} %")
        for count, true, predicted in pairs[:_CONFUSIONS]
    ]
    if not rows:
        return "no class is confused with another"
    return aligned([("true class", "predicted as", "texts", "of the class"), *rows], {0, 1})


def aligned(rows: Sequence[Sequence[str]], text: set[int]) -> str:
    """Align columns. Those whose numbers are in `text` are aligned to the left, the others to the right."""
    # Chinese, Japanese and Korean characters take two cells of a terminal.
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(
            cell + " " * (width - cell_len(cell)) if number in text else " " * (width - cell_len(cell)) + cell
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)
