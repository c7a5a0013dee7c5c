"""The output: a file that is continued after any kind of end, and that has its name only when it is whole.

Rows are appended to `OUT.part`. Beside it, `OUT.part.json` says how many rows, and how many bytes, are safe on the
disk. It is replaced atomically, and only after these bytes have been written through. So whatever ended the last run
(Ctrl-C, kill -9, a full disk, a power cut), `OUT.part` is cut to these bytes, and the work goes on after them.
"""

import contextlib
import errno
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Self

from ..exits import WRONG_USAGE, Failure

_CHECKPOINT_EVERY_S = 1.0


@dataclass(slots=True)
class State:
    """How far the output is. `job` is what must be the same when it is continued."""

    job: dict[str, Any]
    rows: int = 0
    errors: int = 0
    size: int = 0  # bytes of the output
    digest: str = ""  # of the input up to the last of these rows
    total: int | None = None
    names: list[str] | None = field(default=None)


class Output:
    """Appends to a file, with checkpoints. `convert` makes the final file from the appended bytes, if they differ."""

    def __init__(self, target: Path, convert: Callable[[Path, Path], None] | None = None) -> None:
        self.target = target
        self.part = target.with_name(target.name + ".part")
        self.state_file = target.with_name(target.name + ".part.json")
        self._convert = convert
        self._stream: BinaryIO | None = None
        self._saved_s = 0.0
        self.state = State({})

    def read_state(self) -> State | None:
        """Return the state of an output that is not whole, if there is one."""
        if not self.part.exists() or (not self.state_file.exists() and not self.part.stat().st_size):
            return None
        try:
            return State(**json.loads(self.state_file.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise Failure(f"{self.state_file}: cannot be read ({error}); start again with --force") from None

    def open(self, state: State) -> Self:
        """Start with `state`: a new one, or one that `read_state` returned."""
        with self._explained():
            self._stream = self.part.open("ab")
            if not _lock(self._stream):
                self.abandon()
                raise Failure(f"{self.target}: another process is writing it")
            self._stream.truncate(state.size)
            self.state = state
            self._save()
        return self

    def append(self, data: bytes, *, rows: int, errors: int, digest: str) -> None:
        """Add complete rows: `rows` is their number from the beginning, `errors` how many of the new ones have one."""
        assert self._stream is not None
        with self._explained():
            self._stream.write(data)
            # Only now, so that the state never says more than was written.
            state = self.state
            state.rows, state.errors, state.digest = rows, state.errors + errors, digest
            state.size += len(data)
            if time.monotonic() - self._saved_s > _CHECKPOINT_EVERY_S:
                self._save()

    def pause(self) -> None:
        """Save how far the output is, and close it, unless a failure has closed it."""
        if self._stream is not None:
            with self._explained():
                self._save()
            self.abandon()

    def abandon(self) -> None:
        """Close the file. What was written after the last checkpoint is written again when it is continued."""
        if self._stream is not None:
            with contextlib.suppress(OSError):  # the disk is full: the file is cut when it is continued
                self._stream.close()
            self._stream = None

    def finish(self) -> None:
        """Give the whole output its name."""
        assert self._stream is not None
        with self._explained():
            self._save()
            whole = self.part
            if self._convert:
                whole = self.target.with_name(self.target.name + ".part.new")
                self._convert(self.part, whole)
            whole.replace(self.target)
            _sync_folder(self.target)
            self.abandon()
            self.part.unlink(missing_ok=True)
            self.state_file.unlink()

    def _save(self) -> None:
        assert self._stream is not None
        self._stream.flush()
        os.fsync(self._stream.fileno())
        new = self.state_file.with_name(self.state_file.name + ".new")
        with new.open("w", encoding="utf-8") as stream:
            json.dump(asdict(self.state), stream)
            stream.flush()
            os.fsync(stream.fileno())
        new.replace(self.state_file)
        _sync_folder(self.target)
        self._saved_s = time.monotonic()

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Say what a failed write means."""
        try:
            yield
        except OSError as error:
            self.abandon()
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise Failure(
                    f"{self.target}: {error.strerror}. What was written is safe: make room, and run the same command "
                    "with --resume"
                ) from None
            raise Failure(f"{error.filename or self.target}: {error.strerror}") from None


class StandardOutput:
    """Standard output, which cannot be continued."""

    def __init__(self) -> None:
        self.state = State({})

    def append(self, data: bytes, *, rows: int, errors: int, digest: str) -> None:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        self.state.rows, self.state.errors, self.state.digest = rows, self.state.errors + errors, digest

    def pause(self) -> None:
        pass

    def abandon(self) -> None:
        pass

    def finish(self) -> None:
        pass


def target_of(out: str) -> Path:
    """Return the file that is to be written. Raises `Failure` if nothing can be written there."""
    target = Path(out)
    if not target.absolute().parent.is_dir():
        raise Failure(f"{out}: no such folder", WRONG_USAGE)
    if target.exists() and not target.is_file():  # a folder or a device; a file beside it would have its name
        raise Failure(f"{out}: it is not a file; use standard output, --out -", WRONG_USAGE)
    return target


def check_same(old: dict[str, Any], new: dict[str, Any], target: Path) -> None:
    """Raise unless an output that was begun with `old` may be continued with `new`."""
    if changed := [name for name in sorted(old.keys() | new.keys()) if old.get(name) != new.get(name)]:
        what = "; ".join(f"{name} was {old.get(name)}, now {new.get(name)}" for name in changed)
        raise Failure(
            f"{target} was begun in another way ({what}); use the same options and input, or start again with --force",
            WRONG_USAGE,
        )


def _lock(stream: BinaryIO) -> bool:
    """Return whether this process may write the file. The lock ends with the process, even after kill -9."""
    try:
        import fcntl
    except ModuleNotFoundError:  # Windows
        return True
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sync_folder(file: Path) -> None:
    """Make a rename survive a power cut."""
    if os.name == "posix":
        folder = os.open(file.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
