"""Writes the tables of docs/configuration.md from the code: `python -m docs.site.settings`.

A row that begins with the name of a setting decides where it is shown. The rest of the row comes from `app.config`.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from app.config import PREFIX, Settings, choices

PAGE = Path(__file__).parents[1] / "configuration.md"
_ROW = re.compile(rf"^\| `{PREFIX}(\w+)` \|.*$", flags=re.MULTILINE)
_LIMITS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}


def render(page: str) -> str:
    """Return the page with current rows; raise `ValueError` if a setting has no row or a row no setting."""
    rows = [name.lower() for name in _ROW.findall(page)]
    for name in sorted(set(rows) ^ set(Settings.model_fields)):
        raise ValueError(f"{PREFIX}{name.upper()} {'is not a setting' if name in rows else f'has no row in {PAGE}'}")
    return _ROW.sub(lambda row: _row(row[1].lower()), page)


def _row(name: str) -> str:
    field = Settings.model_fields[name]
    default = ",".join(field.default) if isinstance(field.default, tuple) else field.default
    if isinstance(default, bool):
        default = str(default).lower()
    cells = [
        f"`{PREFIX}{name.upper()}`",
        "" if default in (None, "") else f"`{default}`",
        ", ".join(_values(name)),
        str(field.description).replace("|", r"\|"),
    ]
    return f"| {' | '.join(cells)} |"


def _values(name: str) -> Iterator[str]:
    """Yield what is valid, as far as the type of the setting says it."""
    field = Settings.model_fields[name]
    if bool in (field.annotation, *get_args(field.annotation)):
        yield "`true`, `false`"
    yield from (f"`{choice}`" for choice in choices(name))
    for limit in field.metadata:
        yield from (f"{words} {getattr(limit, key)}" for key, words in _LIMITS.items() if hasattr(limit, key))


if __name__ == "__main__":
    PAGE.write_text(render(PAGE.read_text()))
