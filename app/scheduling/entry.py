"""A text in the queue. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from .fairness import Caller
from .lane import Lane

FIRST = -math.inf  # `due` of an entry that has been through a part of its model: it runs before all others


@dataclass(slots=True, eq=False)
class Entry:
    """One text in the queue: its model, its cost and its place in the order.

    `cost` includes the parts of the model that the text is expected to go through. Only the queue sets `queued`,
    `cost`, `work`, `paid` and `place`. For one with a caller, it replaces a finite `due` by the virtual time of
    `fairness`.
    """

    tokens: int
    due: float
    lane: Lane
    most_lanes: int = field(default=0, init=False)  # that it may go through; 0 means as many as it needs
    caller: Caller | None = field(default=None, init=False)
    queued: bool = field(default=False, init=False)
    cost: int = field(default=0, init=False)  # in tokens of a lane of weight 1, as everything that is about time
    work: int = field(default=0, init=False)
    paid: int = field(default=0, init=False)  # what its caller has been charged for parts that have not run
    place: int = field(default=-1, init=False)  # of the last time that it was queued: older places do not count

    @property
    def expected_cost(self) -> int:
        """What it is expected to take, in tokens of a lane of weight 1."""
        return self.lane.expected_cost(self.tokens, self.most_lanes)


def padded_tokens(batch: Sequence[Entry]) -> int:
    """Return the tokens of a batch in which every text is padded to the longest."""
    return max(entry.tokens for entry in batch) * len(batch)


def tokens_of(batch: Sequence[Entry]) -> int:
    """Return the tokens that the model computes for a batch."""
    return sum(entry.tokens for entry in batch) if batch[0].lane.skips_padding else padded_tokens(batch)


def cost_of(batch: Sequence[Entry]) -> int:
    """Return what a batch costs, in tokens of a lane of weight 1."""
    return batch[0].lane.cost_of(tokens_of(batch))
