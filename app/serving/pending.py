"""Waiting for the model, until a deadline."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from ..errors import BackendError, DeadlineExceeded
from ..scheduling import Waiting
from ..types import Answer, Location, Payload, Prediction

T = TypeVar("T")


class Pending:
    """The answer to a query that waits for the model."""

    def __init__(
        self,
        waiting: Waiting[Payload, Prediction],
        deadline_s: float,
        assemble: Callable[[Sequence[Prediction | BackendError]], Answer],
        location_of: Callable[[int], Location] | None,
    ) -> None:
        """`location_of` says where the text of an item is, for the error; None if a text may fail alone."""
        self._waiting = waiting
        self._deadline_s = deadline_s
        self._assemble = assemble
        self._location_of = location_of

    @property
    def is_done(self) -> bool:
        """Whether `result` returns or raises without waiting."""
        return self._waiting.is_done

    def leave(self) -> None:
        """Stop waiting, if nobody awaits `result`."""
        self._waiting.leave()

    async def result(self) -> Answer:
        """Wait for the answer. Raises `DeadlineExceeded`, `NotReady` and, unless the query is partial, `BackendError`.

        If it is cancelled, texts that no other request waits for are dropped.
        """
        with self._waiting:
            if self._location_of is None:
                return self._assemble(await in_time(self._waiting.results_and_failures(), self._deadline_s))
            try:
                return self._assemble(await in_time(self._waiting.results(), self._deadline_s))
            except BackendError as error:
                # A new error, because other requests that wait for the same text share this one.
                location = self._location_of(self._waiting.place_of(error))
                raise BackendError(str(error), location) from error.__cause__


async def in_time(work: Awaitable[T], deadline_s: float) -> T:
    """Return the result of `work`; raise `DeadlineExceeded` if it takes longer."""
    try:
        async with asyncio.timeout(max(0.0, deadline_s - time.monotonic())):
            return await work
    except TimeoutError:
        raise DeadlineExceeded("no result before the deadline") from None
