import os
import threading
from pathlib import Path

import pytest

from app.artifacts import locks
from app.artifacts.locks import acquire, try_acquire


def test_a_lock_is_had_by_one_alone_or_by_several_who_share_it(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    first, second = acquire(file, shared=True), acquire(file, shared=True)
    assert try_acquire(file) is None
    first.release()
    assert try_acquire(file) is None
    second.release()
    alone = try_acquire(file)
    assert alone is not None
    assert try_acquire(file) is None
    alone.release(remove=True)
    assert not file.exists()


def test_who_waited_for_a_file_that_was_removed_locks_the_new_one(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    first = acquire(file)
    got: list[locks.FileLock] = []
    thread = threading.Thread(target=lambda: got.append(acquire(file)))
    thread.start()
    first.release(remove=True)
    thread.join()
    assert file.exists()
    assert try_acquire(file) is None
    got[0].release()


def test_a_file_that_was_removed_or_replaced_is_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "lock"
    real = locks.fcntl.flock
    steps = [file.unlink, lambda: (file.unlink(), file.touch())]

    def flock(descriptor: int, mode: int) -> None:
        real(descriptor, mode)
        if steps:
            steps.pop(0)()

    monkeypatch.setattr(locks.fcntl, "flock", flock)
    lock = acquire(file)
    assert not steps
    assert os.path.samestat(os.fstat(lock._descriptor), file.stat())
    lock.release()
