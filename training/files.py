"""Reading JSON, and writing files so that a crash never leaves half a file."""

import hashlib
import json
import resource
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from training.errors import InputError

PROGRESS = "progress.json"


@contextmanager
def atomic_output(out: Path) -> Iterator[Path]:
    """Yield a path to write to, and rename it to `out` at the end.

    After an exception the incomplete file or directory remains as `NAME.part`. Raises `InputError` if `out` exists.
    """
    if out.exists():
        raise InputError(f"{out} already exists; choose another name")
    part = out.with_name(f"{out.name}.part")
    yield part
    part.rename(out)


def replace(file: Path, text: str) -> None:
    """Replace the content of `file`. After a crash the file has either the old content or the new."""
    fresh = file.with_name(f"{file.name}.new")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(file)


def replace_directory(out: Path, fresh: Path) -> None:
    """Replace `out` with a copy of `fresh`. The old files stay until the copy is complete."""
    out.parent.mkdir(parents=True, exist_ok=True)
    copy = out.with_name(f".{out.name}.new")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(fresh, copy)
    if out.exists():
        shutil.rmtree(out)
    copy.rename(out)


def note(directory: Path, **figures: Any) -> None:
    """Change some figures of `progress.json`, from which a program that started the training sees how far it is."""
    file = directory / PROGRESS
    replace(file, json.dumps((read_json(file) if file.is_file() else {}) | figures) + "\n")


def checksum(rows: Iterable[object]) -> str:
    """Return a sha256 that depends on the rows and on their order."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(repr(row).encode())
    return digest.hexdigest()


def read_json(file: Path) -> dict[str, Any]:
    """Read a JSON object; raise `InputError` if the file holds anything else."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:  # invalid JSON or invalid UTF-8
        raise InputError(f"{file}: not valid JSON: {error}") from None
    if not isinstance(content, dict):
        raise InputError(f"{file}: not a JSON object")
    return content


def peak_memory_mb() -> int:
    """Return the most memory that this process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024  # Linux counts in KiB
