"""The sliding window counter in the memory of this process. Pure and synchronous."""

import math
from collections import OrderedDict
from dataclasses import dataclass

MAX_CALLERS = 100_000  # about 25 MB
_CANDIDATES = 8  # the oldest callers, of which one is forgotten when there are too many
_FORGOTTEN = 2  # at each call, at most, so that no call has much to do


@dataclass(slots=True)
class _Counts:
    window: int
    current: int = 0
    previous: int = 0

    def move_to(self, window: int) -> None:
        if window != self.window:
            self.previous = self.current if window == self.window + 1 else 0
            self.current, self.window = 0, window


@dataclass(frozen=True, slots=True)
class Window:
    """The texts of a caller in the window before this one and in this one, and how long each of them still counts.

    The previous window counts in proportion to what the sliding window still covers of it.
    """

    previous: int
    previous_s: float
    current: int
    current_s: float

    def used(self, window_s: float) -> int:
        """Return the estimated number of texts in the sliding window."""
        return math.floor(self.previous * self.previous_s / window_s + self.current)


class SlidingWindows:
    """Counts texts per caller, at most `amount` in a sliding window of `window_s`.

    A call takes the same time however many callers there are. A caller is forgotten two windows after its last call.
    If there are more than `max_callers`, one of the oldest is forgotten earlier: the one with the fewest texts, so that
    a caller with many texts cannot get rid of its count by sending a few from many addresses.
    """

    def __init__(self, amount: int, window_s: float, max_callers: int = MAX_CALLERS) -> None:
        self._amount = amount
        self._window_s = window_s
        self._max_callers = max_callers
        self._callers: OrderedDict[str, _Counts] = OrderedDict()  # by their last call

    def __len__(self) -> int:
        return len(self._callers)

    def take(self, caller: str, texts: int, now_s: float) -> tuple[bool, Window]:
        """Count `texts` unless they exceed the limit; return whether they were counted, and the caller's window."""
        number = math.floor(now_s / self._window_s)
        self._forget_old(number)
        counts = self._callers.get(caller)
        if counts is None:
            if len(self._callers) >= self._max_callers:
                self._forget_one(number)
            counts = self._callers[caller] = _Counts(number)
        else:
            counts.move_to(number)
            self._callers.move_to_end(caller)
        passed = self._window(counts, now_s).used(self._window_s) + texts <= self._amount
        if passed:
            counts.current += texts
        return passed, self._window(counts, now_s)

    def _window(self, counts: _Counts, now_s: float) -> Window:
        left_s = (counts.window + 1) * self._window_s - now_s
        return Window(counts.previous, left_s if counts.previous else 0.0, counts.current, left_s + self._window_s)

    def _forget_old(self, number: int) -> None:
        for _ in range(_FORGOTTEN):
            oldest = next(iter(self._callers), None)
            if oldest is None or self._callers[oldest].window >= number - 1:
                return
            del self._callers[oldest]

    def _forget_one(self, number: int) -> None:
        oldest = [self._callers.popitem(last=False) for _ in range(min(_CANDIDATES, len(self._callers)))]
        for _, counts in oldest:
            counts.move_to(number)
        fewest = min(oldest, key=lambda each: each[1].current + each[1].previous)
        for caller, counts in oldest:
            if caller != fewest[0]:
                self._callers[caller] = counts
