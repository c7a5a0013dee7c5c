"""The jobs that a request waits for."""

import asyncio
from collections.abc import Iterable
from typing import Generic, Self, TypeVar

from .item import Job
from .scheduler import Scheduler

P = TypeVar("P")
R = TypeVar("R")


class Waiting(Generic[P, R]):
    """Joins jobs; those that are not done when the request stops waiting are left."""

    def __init__(self, scheduler: Scheduler[P, R], deadline_s: float) -> None:
        self._scheduler = scheduler
        self._deadline_s = deadline_s
        self._waiters: list[tuple[Job[P, R], asyncio.Future[R]]] = []

    def __enter__(self) -> Self:
        """Nothing is joined yet."""
        return self

    def join(self, jobs: Iterable[Job[P, R]]) -> None:
        """Wait for these, too."""
        for job in jobs:
            self._waiters.append((job, self._scheduler.join(job, self._deadline_s)))

    async def results(self) -> list[R]:
        """Return the results of all, in the order in which they were joined; raise the first error that there is."""
        waiters = [waiter for _, waiter in self._waiters]
        # gather takes longer than one text needs, but it also sees to the errors of those after the first.
        return [await waiters[0]] if len(waiters) == 1 else await asyncio.gather(*waiters)

    def __exit__(self, *_: object) -> None:
        """Leave those that are not done, whatever ended the wait."""
        for job, waiter in self._waiters:
            if not waiter.done() or waiter.cancelled():
                waiter.cancel()
                self._scheduler.leave(job)
