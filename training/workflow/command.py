"""`python -m training all`: all steps for one table, which is what `rt-sentiment train` runs."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from training.data import add_layout_arguments, read_tables
from training.errors import UsageError
from training.fit import PRESETS, add_setting_flags, given_settings
from training.workflow.train_table import name_of, train_rows

_MAIN = ("--text-column", "--label-column", "--name", "--dev", "--preset")


class Flags:
    """Adds flags to a parser, and hides most of them until `--help-all`."""

    def __init__(self, parser: argparse.ArgumentParser, shown: Sequence[str]) -> None:
        self._parser, self._shown = parser, shown
        self._hidden: list[tuple[argparse.Action, str | None]] = []
        flags = self

        class ShowAll(argparse.Action):
            def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
                flags.print_all()
                parser.exit()

        parser.add_argument("--help-all", nargs=0, action=ShowAll, help="show all flags")

    def add_argument(self, *names: str, **options: Any) -> argparse.Action:
        action = self._parser.add_argument(*names, **options)
        if names[0].startswith("-") and names[0] not in self._shown:
            self._hidden.append((action, action.help))
            action.help = argparse.SUPPRESS
        return action

    def print_all(self) -> None:
        for action, text in self._hidden:
            action.help = text
        self._parser.print_help()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    flags = Flags(parser, _MAIN)
    flags.add_argument("table", metavar="FILE", help="CSV, TSV, JSON lines or Parquet: a text and a label in each row")
    flags.add_argument("--name", help="name of the model: models/NAME (default: that of the file)")
    flags.add_argument("--dev", metavar="FILE", help="rows to measure on (default: a part of the rows, set aside)")
    flags.add_argument(
        "--preset",
        choices=tuple(PRESETS),
        default="auto",
        metavar="NAME",
        help="how to train (default: auto): "
        + "; ".join(f"{name}: {preset.description}" for name, preset in PRESETS.items()),
    )
    add_layout_arguments(flags)
    add_choice_arguments(flags)
    flags.add_argument(
        "--exits",
        action="store_true",
        help="let the exported model answer after some of its layers, where it is sure (docs/depth.md)",
    )
    flags.add_argument("--no-export", dest="export", action="store_false", help="stop before the export")
    flags.add_argument(
        "--models",
        type=Path,
        default=Path("models"),
        metavar="DIRECTORY",
        help="where to put the model (default: models)",
    )


def add_choice_arguments(parser: Any) -> None:
    """Add the flags that say how to divide the rows and how to train."""
    parser.add_argument("--start", metavar="NAME", help="sentiment-en, encoder or a directory (default: by the labels)")
    parser.add_argument(
        "--dev-share",
        type=float,
        metavar="SHARE",
        help="share of the rows to set aside (default: 0.2; less of many)",
    )
    parser.add_argument(
        "--runs",
        type=Path,
        default=Path("runs"),
        metavar="DIRECTORY",
        help="where to train: DIRECTORY/NAME (default: runs)",
    )
    add_setting_flags(parser)


def main(args: argparse.Namespace) -> None:
    table = read_tables([args.table], args)
    dev = read_tables([args.dev], args) if args.dev else None
    if args.exits and not args.export:
        raise UsageError("--exits needs the export, which --no-export leaves out")
    train_rows(
        table,
        dev,
        args.name or name_of(table),
        preset=args.preset,
        start=args.start,
        runs=args.runs,
        models=args.models,
        export=args.export,
        exits=args.exits,
        dev_share=args.dev_share,
        **given_settings(args),
    )
