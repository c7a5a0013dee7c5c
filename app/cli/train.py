"""`rt-sentiment train`: all steps from a table to a model. The code is outside of this package, and needs PyTorch."""

import importlib.util
import os
import sys
from typing import NoReturn

import click

from .exits import Failure


@click.command(
    context_settings={"ignore_unknown_options": True},
    epilog="Run the same command again to resume a training that was interrupted. `python -m training` lists the steps "
    "by themselves. The documentation is docs/training.md.",
)
@click.argument("table", metavar="FILE", required=False)
@click.option("--text-column", metavar="NAME", help="Column of the text (default: text, or a guess).")
@click.option("--label-column", metavar="NAME", help="Column of the label (default: label, or a guess).")
@click.option("--name", metavar="NAME", help="Name of the model: models/NAME (default: that of the file).")
@click.option("--dev", metavar="FILE", help="Rows to measure on (default: a part of the rows, set aside).")
@click.option(
    "--preset", metavar="NAME", help="How to train: auto, sentiment, topics, quick, thorough (default: auto)."
)
@click.option("--help-all", is_flag=True, help="Show all flags.")
@click.argument("others", nargs=-1, type=click.UNPROCESSED, metavar="")
def train(table: str | None, others: tuple[str, ...], *, help_all: bool, **flags: str | None) -> NoReturn:
    """Train a model on the labels in FILE: CSV, TSV, JSON lines or Parquet.

    It reports on the data, sets rows aside to measure on, chooses what to start from and how long to train, keeps the
    best checkpoint, calibrates it, prints the figures and the worst mistakes, and exports the model.
    """
    if importlib.util.find_spec("training") is None:
        raise Failure("the code for training is not installed; run this command in a clone of the repository")
    arguments = [word for name, value in flags.items() if value is not None for word in (_flag(name), value)]
    if help_all:
        _run(["--help-all"])
    if table is None:
        raise click.MissingParameter(param_hint="FILE", param_type="argument")
    # In this order, because FILE may be a flag that only the steps know, whose value comes next.
    _run([table, *others, *arguments])


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _run(arguments: list[str]) -> NoReturn:
    """Become the process of the steps: signals and the exit status are theirs, and none is left behind."""
    sys.stdout.flush()
    sys.stderr.flush()
    # The user's own words.
    os.execv(sys.executable, [sys.executable, "-m", "training", "all", *arguments])  # noqa: S606  # nosec B606
