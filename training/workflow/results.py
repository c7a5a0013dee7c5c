"""The figures of a trained checkpoint: in the terminal, in report.json, and as files to look at."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from training.checkpoints import Calibration
from training.data import DataReport, Example
from training.evaluation import (
    Evaluation,
    classes,
    evaluate_target,
    open_targets,
    show_confusion,
    worst_mistakes,
    write_confusion,
    write_mistakes,
    write_predictions,
)
from training.evaluation.plots import draw_evaluations
from training.files import read_json, replace
from training.fit import figures_by_class

_SHOWN_MISTAKES = 5
_SHOWN_CHARACTERS = 100


def evaluate_checkpoint(checkpoint: Path, dev: Sequence[Example]) -> Evaluation:
    (target,) = open_targets(str(checkpoint), "torch")
    return evaluate_target(target, dev)


def write_results(run: Path, evaluation: Evaluation, calibration: Calibration | None, data: DataReport) -> None:
    """Print the figures, and write them and the predictions to the directory of the run."""
    file = run / "report.json"
    record = read_json(file)
    epoch = f"after epoch {record['kept']['epoch']:g}"
    if several := record.get("trainings"):
        epoch = f"mean of {len(several)} trainings"
    _print(evaluation, f"of the {epoch}" if several else f"of the checkpoint {epoch}, which was kept,")
    write_predictions(evaluation, run / "predictions.csv")
    write_mistakes(evaluation, run, f"Worst mistakes of {run.name}, {epoch}")
    write_confusion(evaluation, run / "confusion.html", f"Confusion matrix of {run.name}, {epoch}")
    draw_evaluations([evaluation], run / "plots", epoch)
    fit: dict[str, Any] | None = None
    if calibration:
        fit = {"temperature": calibration.temperature, "finding": calibration.finding, **calibration.change}
    # The training wrote the figures before calibration.
    record |= {"dev": figures_by_class(evaluation), "calibration": fit, "data_report": data.as_dict()}
    replace(file, json.dumps(record, indent=2) + "\n")
    print(f"  all of it: {run}/report.json, predictions.csv, mistakes.html, mistakes.csv, confusion.html, plots/")


def _print(evaluation: Evaluation, epoch: str) -> None:
    print(f"Figures {epoch} on the rows to measure on")
    for name, each in evaluation.reports.items():
        low, high = each.interval
        print(
            f"  {name}: accuracy {100 * each.accuracy:.1f} % (95 % sure: {100 * low:.1f} to {100 * high:.1f}), "
            f"macro F1 {100 * each.macro_f1:.1f} %, loss {each.nll:.3f}, calibration error {100 * each.ece:.1f} %"
        )
        for line in (classes(each), show_confusion(each)):
            print("\n".join(f"    {part}" for part in line.splitlines()))
    if worst := worst_mistakes(evaluation, _SHOWN_MISTAKES):
        print("Worst mistakes")
        for _, answer in worst:
            text = " ".join(answer.text.split())
            text = text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"
            line = f"line {answer.line}, " if answer.line else ""
            print(f"  {line}{answer.label}, not {answer.predicted} ({100 * answer.confidence:.0f} %): {text}")
