"""Who is let in: by the wait that is predicted, and by how far off such predictions have been. Pure and synchronous."""

from collections.abc import Callable

from app.errors import DeadlineExceeded, Overloaded

_SHARE = 0.99  # of the texts that wait, who shall wait no longer than is reckoned with
_STEP = 0.1
_LEAST_MS = 20.0  # what is shorter says nothing about a full queue
_FIRST, _MOST = 2.0, 4.0


class Admission:
    """Admits requests that are likely to be answered in time.

    A prediction is of the mean wait. Like lengths run together, so of a long queue some texts wait much longer than
    others: `spread` is how many times its prediction a wait takes at most, but for one in a hundred. It is learned from
    waits as they come true, by stochastic approximation of that quantile (Robbins and Monro 1951).
    """

    def __init__(self, max_wait_ms: float, max_queue_texts: int, refused: Callable[[str], None]) -> None:
        self._max_wait_ms = max_wait_ms
        self._max_queue_texts = max_queue_texts
        self._refused = refused
        self.spread = _FIRST

    def check(self, wait_ms: float, timeout_ms: float, texts: int) -> None:
        """Raise unless a text may wait for `wait_ms`, and the queue hold `texts`.

        `DeadlineExceeded` when there is no time left at all; `Overloaded` when the wait would be too long for the limit
        or for the request's own time, or the queue is full.
        """
        if timeout_ms <= 0:
            raise DeadlineExceeded("the deadline passed before the text could be queued")
        if wait_ms > self._max_wait_ms or wait_ms * self.spread > timeout_ms:
            self._refused("wait")
            raise Overloaded("the queue is too long; try again later", wait_ms / 1000)
        if texts > self._max_queue_texts:
            self._refused("full")
            raise Overloaded("the queue is full; try again later", wait_ms / 1000)

    def learn(self, predicted_ms: float, waited_ms: float, *, done: bool = True) -> None:
        """A text waited so long; or left after so long (not `done`), and would have waited longer."""
        if predicted_ms < _LEAST_MS:
            return
        if waited_ms > self.spread * predicted_ms:
            self.spread = min(_MOST, self.spread + _STEP * _SHARE)
        elif done:
            self.spread = max(1.0, self.spread - _STEP * (1 - _SHARE))
