"""Settings as flags of a command."""

import argparse
import sys
from collections.abc import Iterable
from typing import Any

from ..config import PREFIX, Settings, SettingsError, choices, load_settings


def add_flags(parser: argparse.ArgumentParser, names: Iterable[str]) -> None:
    """Add a flag for each of these settings; its help has the environment variable and the default."""
    for name in names:
        field = Settings.model_fields[name]
        default = ",".join(field.default) if isinstance(field.default, tuple) else field.default
        hint = f"{field.description} [{PREFIX}{name.upper()}={'' if default is None else default}]"
        optional_value: dict[str, Any] = {"nargs": "?", "const": "true"} if field.annotation is bool else {}
        parser.add_argument(
            "--" + name.replace("_", "-"),
            dest=name,
            metavar="|".join(choices(name)) or name.upper(),
            help=hint.replace("%", "%%"),
            **optional_value,
        )


def read_settings(args: argparse.Namespace) -> Settings:
    """Read the settings, with the flags that were given; exit with 2 if one is invalid."""
    flags = {name: value for name, value in vars(args).items() if name in Settings.model_fields and value is not None}
    try:
        return load_settings(flags)
    except SettingsError as error:
        print(f"rt-sentiment: {error}", file=sys.stderr)
        sys.exit(2)
