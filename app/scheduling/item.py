"""A text to run, and the requests that wait for it."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from .admission import NO_WAIT, Wait
from .entry import FIRST, Entry
from .lane import Lane, observe_shares

P = TypeVar("P")
R = TypeVar("R")

_MEASURED_TURNS = 2  # of a list: once they have run, the cost model knows what the rest of it costs
_HOPELESS = 1.25  # times the time left: costs are estimates


class WorkItem(Entry, Generic[P, R]):
    """An entry of the queue with a payload, a result to come and the requests that wait for it.

    Settled exactly once: with a result, with an error, or with None if every request has left. Then `on_settled` is
    called.
    """

    __slots__ = (
        "_on_settled",
        "_waiters",
        "arrived_s",
        "deadline_s",
        "finished_s",
        "next",
        "owner",
        "payload",
        "predicted",
        "requests",
        "rest_tokens",
        "settled",
        "started_s",
    )

    def __init__(
        self,
        tokens: int,
        payload: P,
        on_settled: Callable[[R | Exception | None], None],
        lane: Lane,
        *,
        most_lanes: int = 0,
    ) -> None:
        super().__init__(max(1, tokens), 0.0, lane)  # a text without tokens takes a row of a batch, too
        self.most_lanes = most_lanes
        self.payload = payload
        self.arrived_s = self.started_s = self.finished_s = self.deadline_s = 0.0
        self.predicted: Wait = NO_WAIT  # except for the first texts of a request
        self.owner = ""  # the caller that queued it; `caller` may be another one that joined it
        self.next: WorkItem[P, R] | None = None  # of its list: due when this one starts
        self.rest_tokens = 0  # of its list from this item on, once enough of the list has run to tell its cost
        self.requests: Sequence[Any] = ()  # as the observer knows those that wait and want to be told apart
        self.settled = False
        self._on_settled = on_settled
        self._waiters: list[asyncio.Future[R]] = []

    @property
    def awaited(self) -> bool:
        """Whether any request waits, or has waited, for it."""
        return bool(self._waiters)

    @property
    def abandoned(self) -> bool:
        """Whether every request has left."""
        return all(waiter.cancelled() for waiter in self._waiters)

    def is_hopeless(self, token_ms: float, now_s: float) -> bool:
        """Return whether its list would miss its deadline by far even with the whole machine, at `token_ms` per token.

        Never true if another request waits for this text, too: that request does not depend on the list.
        """
        needs_s = token_ms * self.lane.expected_cost(self.rest_tokens, self.most_lanes) / 1000
        return len(self._waiters) == 1 and needs_s > _HOPELESS * (self.deadline_s - now_s)

    def add_waiter(self) -> asyncio.Future[R]:
        """Return a future of the result; the item must not be settled."""
        assert not self.settled
        waiter: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        return waiter

    def go_on(self, payload: P, lane: Lane, now_s: float) -> None:
        """Go on with a payload in the next lane, before all that is new."""
        self.payload, self.lane, self.due = payload, lane, FIRST
        self.arrived_s, self.predicted, self.next, self.rest_tokens = now_s, NO_WAIT, None, 0
        self.most_lanes = max(0, self.most_lanes - 1)

    def settle(self, result: R | Exception | None) -> None:
        """Give the result to every request that still waits. A second call does nothing."""
        if self.settled:
            return
        self.settled = True
        self._on_settled(result)
        for waiter in self._waiters:
            if waiter.done():
                continue
            if isinstance(result, Exception):
                waiter.set_exception(result)
            elif result is not None:
                waiter.set_result(result)
            else:
                waiter.cancel()


def link_turns(items: Sequence[WorkItem[P, R]], turn: int) -> None:
    """Link the texts of a list, of which `turn` are due at a time."""
    rest_tokens = sum(item.tokens for item in items)
    for place, item in enumerate(items):
        item.next = items[place + turn] if place + turn < len(items) else None
        item.rest_tokens = rest_tokens if place >= _MEASURED_TURNS * turn else 0
        rest_tokens -= item.tokens


def observe_going_on(
    lanes: Sequence[Lane], items: Sequence[WorkItem[P, R]], finished: Sequence[WorkItem[P, R]]
) -> None:
    """Let the last of `lanes` know how many tokens of a batch go on, of those that may."""
    free, ending = (sum(item.tokens for item in some if item.most_lanes != len(lanes)) for some in (items, finished))
    observe_shares(lanes, sum(item.tokens for item in items), free, free - ending)


def requests_of(items: Sequence[WorkItem[P, R]]) -> list[Any]:
    """Return the requests that wait for items, or have waited, each once, as the observer knows them."""
    return list(dict.fromkeys(request for item in items for request in item.requests))
