"""Locks between processes: empty files, which the system unlocks when a process ends in any way."""

import fcntl
import os
from pathlib import Path


class FileLock:
    """A lock that is held: shared with others, or by one alone. It may be released in another thread."""

    def __init__(self, file: Path, descriptor: int) -> None:
        self._file = file
        self._descriptor = descriptor

    def release(self, *, remove: bool = False) -> None:
        """Unlock. With `remove`, which needs the lock alone, its file goes, too."""
        if remove:
            self._file.unlink(missing_ok=True)
        os.close(self._descriptor)


def acquire(file: Path, *, shared: bool = False) -> FileLock:
    """Wait for the lock of `file`, which is created if it does not exist. Raises `OSError` if it cannot be."""
    lock = _open(file, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
    while lock is None:
        lock = _open(file, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
    return lock


def try_acquire(file: Path) -> FileLock | None:
    """Return the lock of `file` alone, or None if somebody has it."""
    try:
        return _open(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return None


def _open(file: Path, mode: int) -> FileLock | None:
    """Lock `file`; None if it was removed in the meantime, because then others lock another file of this name."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, mode)
        if os.path.samestat(os.fstat(descriptor), file.stat()):
            return FileLock(file, descriptor)
    except FileNotFoundError:
        pass
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None
