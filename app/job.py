"""A text to run, and the callers that wait for it."""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

from app.admission import Wait
from app.batching import Entry

P = TypeVar("P")
R = TypeVar("R")


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
        "settled",
        "started_s",
    )

    def __init__(self, tokens: int, payload: P, on_settled: Callable[[R | Exception | None], None]) -> None:
        super().__init__(max(1, tokens), 0.0)  # even a text without any token takes a row of a batch
        self.payload = payload
        self.arrived_s = self.started_s = self.finished_s = self.deadline_s = 0.0
        self.predicted = Wait()  # where it is one of the first of its list
        self.next: Job[P, R] | None = None  # of its list, to be due when this one starts
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
