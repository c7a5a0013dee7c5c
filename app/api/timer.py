"""A time limit of a connection."""

import asyncio
from collections.abc import Callable


class Timer:
    """Does something unless it is stopped in time; one thing at a time."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._loop = loop
        self._seconds = seconds
        self._handle: asyncio.TimerHandle | None = None

    def __bool__(self) -> bool:
        """Whether it runs."""
        return self._handle is not None

    def start(self, then: Callable[[], None]) -> None:
        """Do `then` when the time is over, counted from now."""
        self.stop()
        self._handle = self._loop.call_later(self._seconds, self._end, then)

    def stop(self) -> None:
        """Do nothing."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _end(self, then: Callable[[], None]) -> None:
        self._handle = None
        then()
