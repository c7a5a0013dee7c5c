"""The work items that a request waits for."""

import asyncio
from collections.abc import Iterable
from typing import Generic, Self, TypeVar

from ..errors import BackendError
from .item import WorkItem
from .scheduler import Scheduler

P = TypeVar("P")
R = TypeVar("R")


class Waiting(Generic[P, R]):
    """Joins items, and leaves those that are not done when the request stops waiting."""

    def __init__(self, scheduler: Scheduler[P, R], deadline_s: float, caller: str = "", request: object = None) -> None:
        """`request` is what the observer of batches knows the request as; None if it need not."""
        self._scheduler = scheduler
        self._deadline_s = deadline_s
        self._caller = caller
        self._request = request
        self._waiters: list[tuple[WorkItem[P, R], asyncio.Future[R]]] = []

    def join(self, items: Iterable[WorkItem[P, R]]) -> None:
        """Wait for these items, too."""
        for item in items:
            self._waiters.append((item, self._scheduler.join(item, self._deadline_s, self._caller)))
            if self._request is not None:
                item.requests = (*item.requests, self._request)

    async def results(self) -> list[R]:
        """Return all results, in the order in which the items were joined; raise the first error."""
        waiters = [waiter for _, waiter in self._waiters]
        # gather is slower than one text needs, but it also consumes the errors after the first.
        return [await waiters[0]] if len(waiters) == 1 else await asyncio.gather(*waiters)

    async def results_and_failures(self) -> list[R | BackendError]:
        """Return as `results` does, but with a `BackendError` in its place; other errors are raised."""
        return await asyncio.gather(*(self._result_or_failure(waiter) for _, waiter in self._waiters))

    @staticmethod
    async def _result_or_failure(waiter: asyncio.Future[R]) -> R | BackendError:
        try:
            return await waiter
        except BackendError as error:
            return error

    @property
    def is_done(self) -> bool:
        """Whether all items are settled."""
        return all(waiter.done() for _, waiter in self._waiters)

    def place_of(self, error: BackendError) -> int:
        """Return the number of the item that failed with `error`, in the order in which the items were joined."""
        failed = [
            waiter.done() and not waiter.cancelled() and waiter.exception() is error for _, waiter in self._waiters
        ]
        return failed.index(True)

    def leave(self) -> None:
        """Stop waiting for items that are not done."""
        for item, waiter in self._waiters:
            if not waiter.done() or waiter.cancelled():
                waiter.cancel()
                self._scheduler.leave(item)
            else:
                waiter.exception()  # asyncio would log an error that nobody has seen

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()
