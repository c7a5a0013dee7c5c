"""`python -m training cross-validate`: train several times, so that every row is measured on once.

The figures are more reliable than those of one split, above all for few rows. The predictions are those of models that
have not seen the text, so its worst mistakes are a good list of labels to look at.
"""

import argparse
import json
import math
from pathlib import Path

import numpy as np

from training.checkpoints import keep_memory
from training.data import Example, Table, add_layout_arguments, folds, hold_out, read_tables
from training.evaluation import Evaluation, aligned, classes, suite_examples, write_mistakes, write_predictions
from training.evaluation.evaluation import evaluate_target
from training.evaluation.targets import Target
from training.files import replace
from training.fit import choose_for, given_settings
from training.workflow.command import add_choice_arguments
from training.workflow.train_table import name_of
from training.workflow.trials import Trial, run_trial


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("table", metavar="FILE", help="a text and a label in each row")
    parser.add_argument("--folds", type=int, default=5, metavar="N", help="number of trainings (default: %(default)s)")
    parser.add_argument("--name", help="name of the directory: runs/NAME-folds (default: that of the file)")
    parser.add_argument("--preset", default="auto", metavar="NAME", help="as for `all` (default: auto)")
    add_layout_arguments(parser)
    add_choice_arguments(parser)


def main(args: argparse.Namespace) -> None:
    keep_memory()
    table = read_tables([args.table], args)
    directory = args.runs / f"{args.name or name_of(table)}-folds"
    trials = cross_validate(
        table, directory, args.folds, preset=args.preset, start=args.start, settings=given_settings(args)
    )
    print(summary(trials))


def cross_validate(
    table: Table,
    directory: Path,
    count: int,
    *,
    preset: str = "auto",
    start: str | None = None,
    settings: dict[str, object] | None = None,
) -> list[Trial]:
    """Train `count` times in `directory`, and write folds.json, predictions.csv and the mistakes there."""
    kept = hold_out(table, suite_examples(), "the behavioural suite")
    seed = int(str((settings or {}).get("seed", 7)))
    trials = []
    for number, (train, dev) in enumerate(folds(kept.rows, count=count, seed=seed), 1):
        print(f"Fold {number} of {count}: {len(train)} rows to train on, {len(dev)} to measure on", flush=True)
        choice = choose_for(train, preset, start, settings)
        trials.append(run_trial(directory / f"fold-{number}", choice, train, dev))
    together = join([trial.evaluation for trial in trials])
    write_predictions(together, directory / "predictions.csv")
    write_mistakes(together, directory, f"Worst mistakes of {directory.name}")
    figures = [{"accuracy": each.report.accuracy, "macro_f1": each.report.macro_f1} for each in trials]
    replace(directory / "folds.json", json.dumps({"folds": figures}, indent=2) + "\n")
    return trials


def join(evaluations: list[Evaluation]) -> Evaluation:
    """Return one evaluation with the rows of all, each with the answer of the model that had not seen it."""
    answers = [answer for each in evaluations for rows in each.answers.values() for answer in rows]
    labels = max((each.labels for each in evaluations), key=len)
    examples = [Example(answer.text, answer.label, "folds", line=answer.line) for answer in answers]
    scores = np.full((len(answers), len(labels)), 1e-6)
    for row, answer in zip(scores, answers, strict=True):
        row[labels.index(answer.label)] = answer.confidence_of_label
        row[labels.index(answer.predicted)] = answer.confidence
    return evaluate_target(Target("all folds", labels, lambda _: scores), examples)


def summary(trials: list[Trial]) -> str:
    """Return a table with a line for each fold, and the mean with its standard error."""
    rows = [("fold", "rows", "accuracy", "macro F1")]
    for number, trial in enumerate(trials, 1):
        each = trial.report
        rows.append((f"{number}", f"{each.rows}", f"{100 * each.accuracy:.1f}", f"{100 * each.macro_f1:.1f}"))
    means = [
        _mean([figure(trial) for trial in trials])
        for figure in (lambda trial: trial.report.accuracy, lambda trial: trial.report.macro_f1)
    ]
    rows.append(("mean", f"{sum(trial.report.rows for trial in trials)}", *means))
    together = join([trial.evaluation for trial in trials]).reports["folds"]
    return f"{aligned(rows, {0})}\n\nAll rows together:\n{classes(together)}"


def _mean(values: list[float]) -> str:
    error = np.std(values, ddof=1) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    return f"{100 * float(np.mean(values)):.1f} ± {100 * float(error):.1f}"
