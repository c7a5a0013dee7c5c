"""Brownout: under load, texts get shallower answers before any is refused. Pure.

After Klein et al., "Brownout: Building More Robust Cloud Applications" (ICSE 2014).
"""

from ..scheduling import Lane

_TOKENS = 1000  # costs are whole numbers, so that of one token says little


class Brownout:
    """Decides how many parts of a model with exits a new text may go through.

    Above a predicted wait of `limit_ms`, it is the largest number with which the wait would be within the limit if all
    texts that wait went through no more of them.
    """

    def __init__(self, lane: Lane, limit_ms: float) -> None:
        self._lane = lane
        self._limit_ms = limit_ms
        self._parts = 1
        while lane.next:
            lane, self._parts = lane.next, self._parts + 1

    def most_parts(self, wait_ms: float) -> int:
        """Return how many parts a new text may go through; 0 means as many as it needs."""
        if wait_ms <= self._limit_ms:
            return 0
        share = self._limit_ms / wait_ms * self._lane.expected_cost(_TOKENS)
        deeper = (parts for parts in range(self._parts - 1, 1, -1) if self._lane.expected_cost(_TOKENS, parts) <= share)
        return next(deeper, 1)
