"""Whether a run has the machine to itself."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

# So many runs one after the other tell of a lone caller. Two callers hardly ever come so far without meeting.
_TELLING = 16


class Alone:
    """Knows of the runs that are under way, and how many there have been since two of them met. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way = self._since = 0

    @contextmanager
    def run(self) -> Iterator[bool]:
        """Around a run: whether it is a lone caller's, who is likely to stay alone while it lasts."""
        with self._lock:
            if self._under_way:
                self._since = 0
            self._under_way += 1
            alone = self._since >= _TELLING
        try:
            yield alone
        finally:
            with self._lock:
                self._under_way -= 1
                self._since += 1
