"""A circuit breaker between the scheduler and the model: it opens when the model fails on everything.

Bad texts in a row do not open it: a canary, which is a text that ran during warm-up, must fail as well.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar, cast

from ..errors import BackendError
from ..scheduling import RunBatch
from ..types import Unfinished

P = TypeVar("P")
R = TypeVar("R")

_FAILURES = 5  # batches in a row without any result, before the canary runs
_FIRST_PAUSE_S, _ATTEMPTS = 1.0, 5  # each pause is twice as long as the one before: 31 s in total


class Breaker(Generic[P, R]):
    """Runs batches through `run`, and none while it is open. All but `run` is called on the event loop."""

    def __init__(self, run: RunBatch[P, R], canary: P, *, on_open: Callable[["Breaker[P, R]"], None]) -> None:
        self._run = run
        self._canary = canary
        self._on_open = on_open
        self._failures: Counter[int] = Counter()  # by the parts of the model that the batches had been through
        self.is_open = False

    def run(self, payloads: Sequence[P], *, alone: bool = False) -> Sequence[R | P | Exception]:
        """Run a batch; while the breaker is open, fail at once.

        `on_open` gets this breaker, on the thread that opens it.
        """
        if self.is_open:
            return [BackendError("the model is failing") for _ in payloads]
        results = self._run(payloads, alone=alone)
        parts = payloads[0].parts if isinstance(payloads[0], Unfinished) else 0
        if not all(isinstance(result, BackendError) for result in results):
            self._failures[parts] = 0
        else:
            self._failures[parts] += 1
            if self._failures[parts] >= _FAILURES:
                self._failures.clear()
                if not self._canary_runs() and not self.is_open:
                    self.is_open = True
                    self._on_open(self)
        return results

    def _canary_runs(self) -> bool:
        (result,) = self._run([self._canary])
        while isinstance(result, Unfinished):
            (result,) = self._run([cast("P", result)])
        return not isinstance(result, BackendError)

    async def recover(self, timeout_s: float) -> bool:
        """Run the canary several times; close and return True once it succeeds, return False if it never does.

        A run that takes longer than `timeout_s` counts as hung.
        """
        for attempt in range(_ATTEMPTS):
            await asyncio.sleep(_FIRST_PAUSE_S * 2**attempt)
            try:
                async with asyncio.timeout(timeout_s):
                    succeeded = await asyncio.to_thread(self._canary_runs)
            except TimeoutError:
                return False
            if succeeded:
                self.is_open = False
                return True
        return False
