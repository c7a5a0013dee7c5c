"""`rt-sentiment config`."""

import os
import re
from typing import Any

import click
import yaml

from ..config import PREFIX, PROFILES, Settings, platform_settings
from .console import print_json, print_table
from .flags import ALL_SETTINGS, read_settings, setting_flags

# Their values may contain passwords: redis://user:password@host.
_PASSWORD = re.compile(r"(?<=[?&]password=)[^&]*")
_URLS = ("rate_limit_storage", "redis_url", "cache_redis_url")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--changed", is_flag=True, help="Only settings that are not at their default.")
@setting_flags(ALL_SETTINGS)
def config(*, as_json: bool, changed: bool, **flags: Any) -> int:
    """Show each setting, its value, and where the value comes from.

    The sources are, in this order: a flag, an environment variable, the profile, the default. With flags, it shows what
    `rt-sentiment serve` with the same flags would use. Passwords are hidden.
    """
    settings = read_settings(flags)
    rows = [
        {"setting": name, "value": shown(name, getattr(settings, name)), "source": source_of(name, settings, flags)}
        for name in ALL_SETTINGS
    ]
    rows = [row for row in rows if not changed or row["source"] != "default"]
    if as_json:
        print_json(rows)
    else:
        cells = [[str(row["setting"]), as_words(row["value"]), str(row["source"])] for row in rows]
        print_table(("setting", "value", "source"), cells)
    return 0


def source_of(name: str, settings: Settings, flags: dict[str, Any]) -> str:
    """Return where the value of a setting comes from."""
    variable = next((each for each in os.environ if each.upper() == f"{PREFIX}{name}".upper()), None)
    if flags.get(name) is not None:
        return f"flag --{name.replace('_', '-')}"
    if variable and os.environ[variable]:
        return f"environment {variable}"
    if name in platform_settings():
        return f"environment {name.upper()}"
    if settings.profile and name in (yaml.safe_load((PROFILES / f"{settings.profile}.yaml").read_text()) or {}):
        return f"profile {settings.profile}"
    return "default"


def shown(name: str, value: Any) -> Any:
    """Return a value as JSON has it, without passwords."""
    if name in _URLS:
        scheme, separator, rest = value.partition("://")
        *passwords, rest = rest.rsplit("@", 1)
        rest = _PASSWORD.sub("***", rest)
        return f"{scheme}{separator}{'***@' if passwords else ''}{rest}"
    if isinstance(value, tuple):
        return list(value)
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def as_words(value: Any) -> str:
    """Return a value as an environment variable would have it."""
    if isinstance(value, list):
        return ",".join(value) or "none"
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)
