"""When a failed request is sent again, and how long an attempt may take. No I/O."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from .errors import DeadlineExceeded, SentimentError

LONGEST_TIMEOUT_S = 86_400.0

# What the server says when it has done nothing.
_NOT_DONE = {429, 503}
_FIRST_WAIT_S = 0.1
_LONGEST_WAIT_S = 5.0


class Deadline:
    """The end of a call, which all its attempts share."""

    def __init__(self, timeout_s: float, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._end_s = now() + timeout_s

    def left_s(self) -> float:
        """Return the seconds that are left; zero or less if the deadline has passed."""
        return self._end_s - self._now()


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Waits are random between zero and a limit that doubles, so that clients do not return all at once.

    A `Retry-After` is added to that. An attempt whose wait would not end before the deadline is not made.
    """

    attempt_timeout_s: float | None = 10.0
    max_attempts: int | None = None
    uniform: Callable[[float, float], float] = random.uniform

    def attempt_s(self, deadline: Deadline, request_id: str) -> float:
        """Return how long the next attempt may take. Raises `DeadlineExceeded` if no time is left."""
        left_s = deadline.left_s()
        if left_s <= 0:
            raise DeadlineExceeded("the deadline passed", request_id=request_id)
        return left_s if self.attempt_timeout_s is None else min(left_s, self.attempt_timeout_s)

    def wait_s(
        self,
        error: SentimentError,
        attempt: int,
        deadline: Deadline,
        *,
        can_be_split: bool = False,
        can_be_repeated: bool = True,
    ) -> float | None:
        """Return the wait before the next attempt; None if there is none. `attempt` counts from 1."""
        if not error.is_temporary or (self.max_attempts is not None and attempt >= self.max_attempts):
            return None
        if can_be_split and isinstance(error, DeadlineExceeded):
            return None
        if not can_be_repeated and error.status not in _NOT_DONE:
            return None
        limit_s = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2.0 ** min(attempt - 1, 30))
        wait_s = (error.retry_after_s or 0.0) + self.uniform(0.0, limit_s)
        return wait_s if wait_s < deadline.left_s() else None


class Recovery:
    """The failures of a transfer since it last got further than ever before. Each gain gives it the whole time again.

    `silence_s` is how long the other side may say nothing, by default the limit of an attempt. After `limit`, there are
    no more attempts.
    """

    def __init__(
        self, policy: RetryPolicy, timeout_s: float, *, silence_s: float | None = None, limit: Deadline | None = None
    ) -> None:
        self._policy = policy
        self._timeout_s = timeout_s
        self._silence_s = silence_s
        self._limit = limit
        self._furthest = 0
        self._progress()

    def reached(self, position: int) -> None:
        """Note how far the transfer is, in any unit."""
        if position > self._furthest:
            self._furthest = position
            self._progress()

    def _progress(self) -> None:
        self._attempt = 0
        self._deadline = Deadline(self._timeout_s)

    def attempt_s(self, request_id: str) -> float:
        """Return how long the next attempt may be silent. Raises `DeadlineExceeded` if no time is left."""
        if self._limit and self._limit.left_s() <= 0:
            raise DeadlineExceeded("the deadline passed", request_id=request_id)
        silence_s = self._silence_s or self._policy.attempt_s(self._deadline, request_id)
        return min(silence_s, self._limit.left_s()) if self._limit else silence_s

    def wait_s(self, error: SentimentError) -> float | None:
        """Return the wait before the next attempt; None if there is none."""
        self._attempt += 1
        error.attempts = self._attempt
        wait_s = self._policy.wait_s(error, self._attempt, self._deadline)
        return None if wait_s is None or (self._limit and wait_s >= self._limit.left_s()) else wait_s


def check_timeout_s(name: str, value: float) -> float:
    """Return a time limit; raise `ValueError` if it is not one."""
    if not 0 < value <= LONGEST_TIMEOUT_S:
        raise ValueError(f"{name} must be more than 0 and at most {LONGEST_TIMEOUT_S:.0f} seconds")
    return float(value)
