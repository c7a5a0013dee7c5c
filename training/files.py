"""Files that are as they were, or complete."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from training.errors import InputError


@contextmanager
def making(out: Path) -> Iterator[Path]:
    """Yield where to write what gets the name `out` when it is complete.

    Raises `InputError` when there is something of that name. What was written stays when it could not be completed.
    """
    if out.exists():
        raise InputError(f"{out} exists; name another")
    part = out.with_name(f"{out.name}.part")
    yield part
    part.rename(out)


def replace(file: Path, text: str) -> None:
    """Put `text` in place of what is in `file`; a crash leaves that."""
    fresh = file.with_name(f"{file.name}.new")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(file)


def checksum(rows: Iterable[object]) -> str:
    """The sha256 of what is in `rows`, and of their order."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(repr(row).encode())
    return digest.hexdigest()


def read_json(file: Path) -> dict[str, Any]:
    """Read a JSON object; raise `InputError` when the file holds something else."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:  # not JSON, or not even UTF-8
        raise InputError(f"{file}: not valid JSON: {error}") from None
    if not isinstance(content, dict):
        raise InputError(f"{file}: not a JSON object")
    return content
