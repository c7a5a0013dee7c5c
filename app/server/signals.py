"""How a process reacts to the signals that stop it."""

import signal
import time

# make and terminals forward signals to processes that also receive them directly: a repeat this soon is ignored.
_REPEAT_S = 0.5


class Stop:
    """Whether a first signal has requested a drain, and a second one an immediate end.

    SIGHUP (the terminal closes) can only be a first signal: some service managers send it after every SIGTERM.
    """

    def __init__(self) -> None:
        self.requested = self.forced = False
        self._requested_s = 0.0

    def receive(self, number: int) -> None:
        now_s = time.monotonic()
        if not self.requested:
            self.requested, self._requested_s = True, now_s
        elif number != signal.SIGHUP and now_s > self._requested_s + _REPEAT_S:
            self.forced = True
