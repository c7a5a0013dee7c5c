"""Admission control: a request is accepted only if it is likely to be answered in time. Pure and synchronous."""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..errors import DeadlineExceeded, Overloaded

_SHARE = 0.99  # target quantile of the waiting time
_STEP = 0.1
_LEAST_MS = 20.0  # shorter waits say nothing about a full queue
# Lower bound, initial value and upper bound of `spread`. At 1.0 the queue would be filled until its texts have no time
# to spare. That gives no more throughput than two thirds of it, and some texts miss their deadline.
_LEAST, _FIRST, _MOST = 1.5, 2.0, 4.0
_FADE_S = 30.0  # time constant of forgetting: one bad moment must not count for hours


class Wait(NamedTuple):
    """A predicted wait: for the running batches, for the queue ahead, and for the batch that the text will be in."""

    running_ms: float = 0.0
    queued_ms: float = 0.0
    batch_ms: float = 0.0

    @property
    def ms(self) -> float:
        """Return the time until the text starts."""
        return self.running_ms + self.queued_ms


NO_WAIT = Wait()


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Texts on their way to the queue: all of them, those of one caller, and the callers that they are from."""

    texts: int
    own: int
    callers: Collection[str] = ()


NOWHERE = Elsewhere(0, 0)


class Room(NamedTuple):
    """What is in the queue once a request is in it: all texts, those of its caller, and the number of callers."""

    texts: int
    own: int
    callers: int


class Admission:
    """Admits requests that are likely to be answered in time.

    The predicted wait is a mean. Where texts of similar length share a batch, some texts of a long queue wait much
    longer than others. `spread` is the 99th percentile of the ratio between the actual and the predicted wait in the
    queue. It is estimated from observed waits by stochastic approximation (Robbins and Monro 1951).
    """

    def __init__(self, max_wait_ms: float, max_queue_texts: int, refused: Callable[[str], None]) -> None:
        self._max_wait_ms = max_wait_ms
        self._max_queue_texts = max_queue_texts
        self._refused = refused
        self._looked_s = -math.inf
        self.spread = _FIRST

    def check(self, wait: Wait, *, now_s: float, deadline_s: float, room: Room) -> None:
        """Raise if a text must not wait this long, or if the queue has no room for its request.

        A full queue still has room for a caller that has no more than an equal part of it: what others do cannot keep
        that caller out, and even with many callers the queue holds only a few times its limit.

        Raises `DeadlineExceeded` if the deadline has passed, and `Overloaded` if the wait would exceed the limit or the
        time left, or if the queue is full.
        """
        self._fade(now_s)
        timeout_ms = (deadline_s - now_s) * 1000
        if timeout_ms <= 0:
            raise DeadlineExceeded("the deadline passed before the text could be queued")
        done_ms = wait.running_ms + wait.queued_ms * self.spread + wait.batch_ms
        if wait.ms > self._max_wait_ms or done_ms > timeout_ms:
            self._refused("wait")
            raise Overloaded("the queue is too long; try again later", wait.ms / 1000)
        if room.texts > self._max_queue_texts and room.own > self._max_queue_texts // room.callers:
            self._refused("full")
            raise Overloaded("the queue is full; try again later", wait.ms / 1000)

    def learn(self, waits: Sequence[tuple[Wait, float]], now_s: float, *, done: bool = True) -> None:
        """Update `spread` with predicted waits and actual ones in milliseconds, all of the texts of one batch.

        If `done` is false, the text left the queue before it could start, so its wait is only a lower bound. The texts
        of a batch waited for the same work, so together they raise `spread` only once.
        """
        self._fade(now_s)
        long_waits = [(wait, ms) for wait, ms in waits if wait.queued_ms >= _LEAST_MS]
        if any(ms - wait.running_ms > self.spread * wait.queued_ms for wait, ms in long_waits):
            self.spread = min(_MOST, self.spread + _STEP * _SHARE)
        elif done:
            self.spread = max(_LEAST, self.spread - _STEP * (1 - _SHARE) * len(long_waits))

    def _fade(self, now_s: float) -> None:
        self.spread = _FIRST + (self.spread - _FIRST) * math.exp((self._looked_s - now_s) / _FADE_S)
        self._looked_s = now_s
