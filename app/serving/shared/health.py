"""When to leave a Redis that fails alone, and for how long. Pure."""

from dataclasses import dataclass

_LONGEST_PAUSE_S = 60.0
_ENOUGH_SUCCESSES = 100  # in a row, after which earlier failures no longer count


@dataclass(slots=True)
class Health:
    """A first failure pauses nothing but what must be tried again; each further one doubles the pause, from 1 s on.

    Failures count until there have been many successes in a row. Otherwise a Redis that answers now and then would be
    asked, and waited for, all the time.
    """

    is_ok: bool = False
    _failures: int = 0
    _successes: int = 0
    _retry_s: float = 0.0

    def failed(self, now_s: float) -> float:
        """Return how many seconds to pause."""
        self._failures += 1
        self._successes = 0
        self.is_ok = False
        pause_s = 0.0 if self._failures == 1 else min(_LONGEST_PAUSE_S, 2.0 ** min(self._failures - 2, 10))
        self._retry_s = now_s + pause_s
        return pause_s

    def succeeded(self) -> None:
        self.is_ok = True
        self._successes += 1
        if self._successes >= _ENOUGH_SUCCESSES:
            self._failures = 0

    def may_try(self, now_s: float) -> bool:
        """Return whether the pause is over, or there is none."""
        return self.is_ok or now_s >= self._retry_s
