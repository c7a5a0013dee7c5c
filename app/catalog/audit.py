"""The audit log beside the models file: who changed the callers of which version, when, and to what.

One JSON object in each line. Lines are only ever added.
"""

import errno
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..errors import ModelsFileError
from .spec import Shares

_TEXTS = ("who", "command", "model", "version", "checksum")


@dataclass(frozen=True, slots=True)
class Change:
    """A line of the log. `before` and `after` have the weights of all versions of the model.

    `version` is the source of the version that the command was about; it is empty for a whole model. `checksum` is the
    sha256 of its manifest, if that could be read or is pinned in the file.
    """

    when: datetime
    who: str
    command: str
    model: str
    version: str
    before: Shares
    after: Shares
    checksum: str | None = None

    def render(self) -> dict[str, Any]:
        """Return what JSON shows."""
        return {
            "when": f"{self.when.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
            "who": self.who,
            "command": self.command,
            "model": self.model,
            "version": self.version,
            "from": _plain(self.before),
            "to": _plain(self.after),
            "checksum": self.checksum,
        }


def audit_file(path: Path) -> Path:
    """Return the log of a models file: of models.yaml, models.audit.jsonl in the same folder."""
    target = Path(os.path.realpath(path))
    return target.with_name(f"{target.stem}.audit.jsonl")


@contextmanager
def appending(file: Path) -> Iterator[Callable[[Change], None]]:
    """Open a log, and yield a function that adds a line and waits until it is safe on the disk.

    If that fails, nothing is added. The caller has the lock of the models file. Raises `ModelsFileError` if the log
    cannot be written.
    """
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise _not_written(file, error) from None

    def append(change: Change) -> None:
        line = (json.dumps(change.render(), ensure_ascii=False) + "\n").encode()
        size = os.fstat(descriptor).st_size
        try:
            if os.write(descriptor, line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(descriptor)
        except OSError as error:
            os.ftruncate(descriptor, size)
            raise _not_written(file, error) from None

    try:
        yield append
    finally:
        os.close(descriptor)


def _not_written(file: Path, error: OSError) -> ModelsFileError:
    return ModelsFileError(f"{file}: the audit log cannot be written, so nothing is changed: {error.strerror}")


def read_log(file: Path) -> list[Change]:
    """Return the changes in a log, the oldest first; none if there is no such file.

    Raises `ModelsFileError`, which names the line, for one that was not written by this package.
    """
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ModelsFileError(f"{file}: {error.strerror}") from None
    changes = []
    for number, line in enumerate(content.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            changes.append(_change(json.loads(line)))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise ModelsFileError(
                f"{file}, line {number}: not a line of an audit log; repair it, or move it to another file", number
            ) from None
    return changes


def previous(changes: Iterable[Change], model: str) -> Shares | None:
    """Return the weights to which a rollback of `model` leads, or None if there is nothing to go back to.

    These are the weights before the last change of the weights of versions that have callers. A rollback takes one such
    change back, so another one goes further back. A model that was removed and added again begins anew.
    """
    states: list[Shares] = []
    for change in changes:
        if change.model != model:
            continue
        if not change.before or not change.after:
            states.clear()
        elif change.command == "rollback":
            del states[-1:]
        elif _with_callers(change.before) != _with_callers(change.after):
            states.append(change.before)
    return states[-1] if states else None


def _with_callers(shares: Shares) -> dict[str, object]:
    return {source: share for source, share in shares.items() if share not in (0, "shadow")}


def _change(line: Mapping[str, Any]) -> Change:
    """Return the change that a line says. Raises an error of Python if it is not one."""
    who, command, model, version, checksum = (line[name] for name in _TEXTS)
    if not all(isinstance(text, str) for text in (who, command, model, version, checksum or "")):
        raise TypeError("expected text")
    when = datetime.fromisoformat(line["when"])
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return Change(when, who, command, model, version, _shares(line["from"]), _shares(line["to"]), checksum)


def _plain(shares: Shares) -> dict[str, object]:
    """Return whole weights as integers, as people write them."""
    return {
        source: int(share) if isinstance(share, float) and share.is_integer() else share
        for source, share in shares.items()
    }


def _shares(value: Mapping[str, Any]) -> Shares:
    return {str(source): "shadow" if share == "shadow" else float(share) for source, share in value.items()}
