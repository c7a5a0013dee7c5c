"""Which version of a model answers a caller: by weight, and always the same one. Pure."""

import hashlib
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Generic, TypeVar

V = TypeVar("V")

_POINTS = 2**64


class Route(Generic[V]):
    """The versions of one model, with a share of the callers for each.

    A caller is a point between 0 and 1, and versions have intervals there, in their order. So a canary that comes last
    and grows keeps the callers that it has.
    """

    def __init__(self, model: str, shares: Sequence[tuple[V, float]]) -> None:
        """At least one of the shares must be above 0. `model` makes the callers of different models independent."""
        self._model = model.encode()
        shares = [(version, weight) for version, weight in shares if weight > 0]
        self._versions = [version for version, _ in shares]
        total = sum(weight for _, weight in shares)
        # The last interval ends where the points do, whatever the sums are rounded to.
        self._ends = [end / total * _POINTS for end in accumulate(weight for _, weight in shares[:-1])]

    def pick(self, caller: str) -> V:
        """Return the version for a caller."""
        if not self._ends:
            return self._versions[0]
        digest = hashlib.blake2b(caller.encode(), digest_size=8, key=self._model[:64]).digest()
        return self._versions[bisect_right(self._ends, int.from_bytes(digest))]
