"""Who is let in: by the wait that is predicted, and by how far off such predictions have been. Pure and synchronous."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..errors import DeadlineExceeded, Overloaded

_SHARE = 0.99  # of the texts that wait, who shall wait no longer than is reckoned with
_STEP = 0.1
_LEAST_MS = 20.0  # what is shorter says nothing about a full queue
# A queue that is filled up to the last moment of its texts' time gets no more done than one of two thirds of it, and
# some of its texts come too late.
_LEAST, _FIRST, _MOST = 1.5, 2.0, 4.0
_FADE_S = 30.0  # in which two thirds of what was learned are forgotten: one bad moment must not count for hours


@dataclass(frozen=True, slots=True)
class Wait:
    """How long a text is predicted to wait, in milliseconds: for what runs, and for what is queued before it.

    And how long the batch may take that it will be in.
    """

    running_ms: float = 0.0
    queued_ms: float = 0.0
    batch_ms: float = 0.0

    @property
    def ms(self) -> float:
        """Until it starts."""
        return self.running_ms + self.queued_ms


NO_WAIT = Wait()


class Admission:
    """Admits requests that are likely to be answered in time.

    A prediction is of the mean wait. Where like lengths run together, some texts of a long queue wait much longer than
    others: `spread` is how many times its prediction the wait for the queue takes at most, but for one in a hundred. It
    is learned from waits as they come true, by stochastic approximation of that quantile (Robbins and Monro 1951).
    """

    def __init__(self, max_wait_ms: float, max_queue_texts: int, refused: Callable[[str], None]) -> None:
        self._max_wait_ms = max_wait_ms
        self._max_queue_texts = max_queue_texts
        self._refused = refused
        self._looked_s = -math.inf
        self.spread = _FIRST

    def check(self, wait: Wait, *, now_s: float, deadline_s: float, texts: int) -> None:
        """Raise unless a text may wait for so long, and the queue hold `texts`.

        `DeadlineExceeded` when there is no time left at all; `Overloaded` when the wait would be too long for the limit
        or for the request's own time, or the queue is full.
        """
        self._fade(now_s)
        timeout_ms = (deadline_s - now_s) * 1000
        if timeout_ms <= 0:
            raise DeadlineExceeded("the deadline passed before the text could be queued")
        done_ms = wait.running_ms + wait.queued_ms * self.spread + wait.batch_ms
        if wait.ms > self._max_wait_ms or done_ms > timeout_ms:
            self._refused("wait")
            raise Overloaded("the queue is too long; try again later", wait.ms / 1000)
        if texts > self._max_queue_texts:
            self._refused("full")
            raise Overloaded("the queue is full; try again later", wait.ms / 1000)

    def learn(self, waits: Sequence[tuple[Wait, float]], now_s: float, *, done: bool = True) -> None:
        """Texts of one batch waited so many milliseconds; or one left after so long (not `done`) and would have waited.

        Those of a batch have waited for the same things, so they are one reason to reckon with more, not many.
        """
        self._fade(now_s)
        told = [(wait, ms) for wait, ms in waits if wait.queued_ms >= _LEAST_MS]
        if any(ms - wait.running_ms > self.spread * wait.queued_ms for wait, ms in told):
            self.spread = min(_MOST, self.spread + _STEP * _SHARE)
        elif done:
            self.spread = max(_LEAST, self.spread - _STEP * (1 - _SHARE) * len(told))

    def _fade(self, now_s: float) -> None:
        self.spread = _FIRST + (self.spread - _FIRST) * math.exp((self._looked_s - now_s) / _FADE_S)
        self._looked_s = now_s
