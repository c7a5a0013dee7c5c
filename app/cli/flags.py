"""Settings as flags of a command."""

from collections.abc import Callable, Iterable
from typing import Any

import click

from ..config import PREFIX, Settings, SettingsError, choices, load_settings
from ..job_settings import JobSettings
from .exits import WRONG_USAGE, Failure

# Those of jobs last: few people need them.
ALL_SETTINGS = sorted(Settings.model_fields, key=lambda name: name in JobSettings.model_fields)
MODEL_SETTINGS = ("model", "model_digest", "backend", "device", "precision", "abstain_below", "depth")

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def setting_flags(names: Iterable[str]) -> Decorator:
    """Add a flag for each of these settings; its help has the environment variable and the default."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for name in reversed(list(names)):
            field = Settings.model_fields[name]
            default = ",".join(field.default) if isinstance(field.default, tuple) else field.default
            optional_value: dict[str, Any] = {"flag_value": "true"} if field.annotation is bool else {}
            add = click.option(
                "--" + name.replace("_", "-"),
                name,
                metavar="|".join(choices(name)) or name.upper(),
                help=f"{field.description} [{PREFIX}{name.upper()}={'' if default is None else default}]",
                is_flag=False,
                **optional_value,
            )
            function = add(function)
        return function

    return decorate


def read_settings(flags: dict[str, Any]) -> Settings:
    """Read the settings, with the flags that were given."""
    try:
        return load_settings({name: value for name, value in flags.items() if value is not None})
    except SettingsError as error:
        raise Failure(str(error), WRONG_USAGE) from None
