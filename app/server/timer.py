"""A timer of the event loop."""

import asyncio
from collections.abc import Callable


class Timer:
    """Calls a function once, some time after it was started, unless it is stopped before."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._handle: asyncio.TimerHandle | None = None

    @property
    def is_running(self) -> bool:
        return self._handle is not None

    def start(self, seconds: float, function: Callable[[], object]) -> None:
        """Start it, again if it is running."""
        self.stop()
        self._handle = self._loop.call_later(seconds, self._run, function)

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _run(self, function: Callable[[], object]) -> None:
        self._handle = None
        function()
