"""`python -m training train`: fine-tune a classifier."""

import argparse
from dataclasses import fields
from pathlib import Path
from typing import Any

from training.checkpoints import keep_memory
from training.data import add_layout_arguments, read_tables
from training.fit.choice import EMBEDDED, PRESETS
from training.fit.recipe import Recipe, read_recipe
from training.fit.several import fine_tune
from training.fit.start import choose_for, start_directory

ONLY_IN_A_FILE = {"weights", "early_layers", "early_weight"}
_FLAGS = [field for field in fields(Recipe) if field.name not in ONLY_IN_A_FILE]
_DESCRIPTIONS = {name: info.description for name, info in Recipe.__pydantic_fields__.items()}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "checkpoint",
        type=Path,
        nargs="?",
        help="directory of the checkpoint or artifact to start from (default: chosen from the data)",
    )
    parser.add_argument(
        "--data", nargs="+", required=True, metavar="SOURCE", help="text to train on (formats: docs/training.md)"
    )
    parser.add_argument("--dev", nargs="+", required=True, metavar="SOURCE", help="labelled text to measure on")
    parser.add_argument("--out", type=Path, required=True, help="directory of the run; an interrupted run is resumed")
    parser.add_argument("--recipe", type=Path, help="TOML file with settings; flags override it")
    parser.add_argument(
        "--preset",
        choices=tuple(PRESETS),
        metavar="NAME",
        help="how to choose the settings that are not given, without --recipe (default: auto): "
        + "; ".join(f"{name}: {preset.description}" for name, preset in PRESETS.items()),
    )
    add_layout_arguments(parser)
    add_setting_flags(parser)


def add_setting_flags(parser: Any) -> None:
    """Add a flag for each setting of a recipe."""
    for field in _FLAGS:
        flag = "--" + field.name.replace("_", "-")
        options: dict[str, Any] = {"type": type(field.default)}
        if isinstance(field.default, bool):
            options = {"action": argparse.BooleanOptionalAction}
        elif field.name == "keep":
            options = {"choices": ("best", "last")}
        parser.add_argument(
            flag, **options, default=None, help=f"{_DESCRIPTIONS[field.name]} (in a recipe: {field.default})"
        )


def given_settings(args: argparse.Namespace) -> dict[str, Any]:
    """Return the settings that were given as flags."""
    settings = {field.name: getattr(args, field.name) for field in _FLAGS}
    return {name: value for name, value in settings.items() if value is not None}


def main(args: argparse.Namespace) -> None:
    keep_memory()
    given = given_settings(args)
    recipe = read_recipe(args.recipe, **given)  # checks the values
    examples, dev = read_tables(args.data, args).rows, read_tables(args.dev, args).rows
    start = str(args.checkpoint or "") or None
    if not args.recipe:
        choice = choose_for(examples, args.preset or "auto", start, given)
        print("\n".join(choice.reasons), flush=True)
        start, recipe = choice.start, choice.recipe
    fine_tune(start_directory(start or EMBEDDED), args.out, examples, dev, recipe)
