"""A text to run, and the callers that wait for it."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from .admission import NO_WAIT, Wait
from .queue import Entry

P = TypeVar("P")
R = TypeVar("R")

_TELLING_TURNS = 2  # of a list: when they have run, the cost model knows what the rest of it costs
_HOPELESS = 1.25  # times what is left of the time: costs are learned, and not exact


class Job(Entry, Generic[P, R]):
    """An entry of the queue with a payload, an answer to come and callers that wait for it.

    Settled exactly once: with a result, with an error, or with None when every caller has left. `on_settled` is told.
    """

    __slots__ = (
        "_on_settled",
        "_waiters",
        "arrived_s",
        "deadline_s",
        "finished_s",
        "next",
        "payload",
        "predicted",
        "rest_tokens",
        "settled",
        "started_s",
    )

    def __init__(self, tokens: int, payload: P, on_settled: Callable[[R | Exception | None], None]) -> None:
        super().__init__(max(1, tokens), 0.0)  # even a text without any token takes a row of a batch
        self.payload = payload
        self.arrived_s = self.started_s = self.finished_s = self.deadline_s = 0.0
        self.predicted: Wait = NO_WAIT  # but where it is one of the first of its list
        self.next: Job[P, R] | None = None  # of its list, to be due when this one starts
        self.rest_tokens = 0  # of its list, from this one on; where the list has run for long enough to tell
        self.settled = False
        self._on_settled = on_settled
        self._waiters: list[asyncio.Future[R]] = []

    @property
    def awaited(self) -> bool:
        """Whether anybody waits, or has waited, for it."""
        return bool(self._waiters)

    @property
    def abandoned(self) -> bool:
        """Whether every caller has left."""
        return all(waiter.cancelled() for waiter in self._waiters)

    def is_hopeless(self, token_ms: float, now_s: float) -> bool:
        """Whether its list would come much too late, had it the machine to itself, with `token_ms` for each token.

        Not if somebody else waits for this text, too, who may have nothing to do with that list.
        """
        needs_s = token_ms * self.rest_tokens / 1000
        return len(self._waiters) == 1 and needs_s > _HOPELESS * (self.deadline_s - now_s)

    def add_waiter(self) -> asyncio.Future[R]:
        """Return a future of the result; the job must not be settled."""
        assert not self.settled
        waiter: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        return waiter

    def settle(self, result: R | Exception | None) -> None:
        """Give every caller that still waits the answer; a second call does nothing."""
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


def in_turns(jobs: Sequence[Job[P, R]], turn: int) -> None:
    """These are the texts of a list, of which `turn` are due at a time."""
    rest_tokens = sum(job.tokens for job in jobs)
    for place, job in enumerate(jobs):
        job.next = jobs[place + turn] if place + turn < len(jobs) else None
        job.rest_tokens = rest_tokens if place >= _TELLING_TURNS * turn else 0
        rest_tokens -= job.tokens
