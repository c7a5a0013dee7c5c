"""`python -m training sweep`: try other settings, drawn at random with a seed, and compare them.

The first trial is what `all` chooses. All are measured on the same rows. The best of many trials on few rows looks
better than it is: give rows of your own with --test to see by how much.
"""

import argparse
import json
import math
import random
from dataclasses import asdict, replace
from pathlib import Path

from training.checkpoints import keep_memory
from training.data import Example, Table, add_layout_arguments, read_tables
from training.evaluation import aligned
from training.files import replace as replace_file
from training.fit import EMBEDDED, ENCODER, Choice, choose_for, given_settings
from training.workflow.command import add_choice_arguments
from training.workflow.results import evaluate_checkpoint
from training.workflow.train_table import divide, name_of
from training.workflow.trials import Trial, main_report, run_trial

_RATES = (3e-5, 6e-4)  # lowest and highest


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("table", metavar="FILE", help="a text and a label in each row")
    parser.add_argument("--trials", type=int, default=8, metavar="N", help="number of trainings (default: %(default)s)")
    parser.add_argument("--name", help="name of the directory: runs/NAME-sweep (default: that of the file)")
    parser.add_argument("--dev", metavar="FILE", help="rows to measure on (default: a part of the rows, set aside)")
    parser.add_argument("--test", metavar="FILE", help="rows that no choice depends on, to measure each trial on, too")
    parser.add_argument("--preset", default="auto", metavar="NAME", help="of the first trial (default: auto)")
    add_layout_arguments(parser)
    add_choice_arguments(parser)


def main(args: argparse.Namespace) -> None:
    keep_memory()
    table = read_tables([args.table], args)
    dev = read_tables([args.dev], args) if args.dev else None
    test = read_tables([args.test], args).rows if args.test else []
    settings = given_settings(args)
    train, measured_on = divide(table, dev, args.dev_share, settings.get("seed", 7))
    first = choose_for(train.rows, args.preset, args.start, settings)
    choices = draw(first, args.trials, given=set(settings), start=args.start)
    directory = args.runs / f"{args.name or name_of(table)}-sweep"
    print(sweep(train, measured_on, directory, choices, test))


def draw(first: Choice, number: int, *, given: set[str], start: str | None = None) -> list[Choice]:
    """Return `first` and other choices. Settings that are `given`, and a given start, stay the same."""
    rng = random.Random(first.recipe.seed)
    choices = [first]
    for _ in range(number - 1):
        low, high = map(math.log, _RATES)
        drawn = {
            "learning_rate": float(f"{math.exp(rng.uniform(low, high)):.2g}"),
            "epochs": max(1, round(first.recipe.epochs * rng.choice((0.5, 1, 2)))),
            "batch_size": rng.choice((8, 16, 32)),
            "label_smoothing": rng.choice((0.0, 0.05, 0.1)),
            "class_weights": rng.random() < 0.5,
        }
        # The number of steps stays that of the first, or half or twice as many.
        drawn["epochs"] = max(1, round(drawn["epochs"] * drawn["batch_size"] / first.recipe.batch_size))
        begin = rng.choice((EMBEDDED, ENCODER))
        recipe = replace(first.recipe, **{name: value for name, value in drawn.items() if name not in given})
        choices.append(Choice(start or begin, recipe, ()))
    return choices


def sweep(train: Table, dev: list[Example], directory: Path, choices: list[Choice], test: list[Example]) -> str:
    """Run a trial for each choice, write sweep.json, and return a table, with the best first."""
    results: list[tuple[Trial, float | None]] = []
    for number, choice in enumerate(choices, 1):
        print(f"Trial {number} of {len(choices)}: {describe(choice)}", flush=True)
        trial = run_trial(directory / f"trial-{number}", choice, train.rows, dev)
        exam = main_report(evaluate_checkpoint(trial.directory / "checkpoint", test)).macro_f1 if test else None
        results.append((trial, exam))
    results.sort(key=lambda result: (-result[0].report.macro_f1, result[0].report.nll))
    record = [
        {"trial": each.directory.name, "start": each.choice.start, "recipe": asdict(each.choice.recipe)}
        | {"macro_f1": each.report.macro_f1, "loss": each.report.nll, "test_macro_f1": exam}
        for each, exam in results
    ]
    replace_file(directory / "sweep.json", json.dumps(record, indent=2) + "\n")
    rows = [("trial", "macro F1", "loss", "test macro F1", "settings")]
    for each, exam in results:
        shown = f"{100 * exam:.1f}" if exam is not None else "-"
        name = each.directory.name.removeprefix("trial-")
        report = each.report
        rows.append((name, f"{100 * report.macro_f1:.1f}", f"{report.nll:.3f}", shown, describe(each.choice)))
    return aligned(rows, {4})


def describe(choice: Choice) -> str:
    """Return the flags for a choice."""
    recipe = choice.recipe
    weights = "--class-weights" if recipe.class_weights else "--no-class-weights"
    return (
        f"--start {choice.start} --learning-rate {recipe.learning_rate:g} --epochs {recipe.epochs} "
        f"--batch-size {recipe.batch_size} --label-smoothing {recipe.label_smoothing:g} {weights}"
    )
