"""How firmly a process was told to stop."""

import signal
import time

# What comes so soon after the first signal is the same wish on another way: make and terminals pass signals on to
# processes that get them from others as well.
_ECHO_S = 0.5


class Stop:
    """Whether anybody has asked, and whether somebody has asked again because it takes too long.

    A terminal that closes (SIGHUP) asks, but never again: some managers of services send it after each SIGTERM.
    """

    def __init__(self) -> None:
        self.asked = self.insisted = False
        self._first_s = 0.0

    def take(self, number: int) -> None:
        """A signal came."""
        now_s = time.monotonic()
        if not self.asked:
            self.asked, self._first_s = True, now_s
        elif number != signal.SIGHUP and now_s > self._first_s + _ECHO_S:
            self.insisted = True
