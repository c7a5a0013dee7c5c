"""A circuit breaker between the scheduler and the model: a model that fails at everything is left alone for a while.

One bad text after the other is no reason: before it opens, a canary must have failed too, a text that ran at the start.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from ..errors import BackendError

P = TypeVar("P")
R = TypeVar("R")

_FAILURES = 5  # batches on end of which no text was answered, before the canary is asked
_FIRST_PAUSE_S, _ATTEMPTS = 1.0, 5  # each pause is twice the one before it: 31 s together


class Breaker(Generic[P, R]):
    """Runs batches by way of `run`, and none while it is open. `run` is called on any thread, the rest on the loop."""

    def __init__(
        self, run: Callable[[Sequence[P]], Sequence[R | BackendError]], canary: P, *, on_open: Callable[[], None]
    ) -> None:
        self._run = run
        self._canary = canary
        self._on_open = on_open
        self._failures = 0
        self.is_open = False

    def run(self, payloads: Sequence[P]) -> Sequence[R | BackendError]:
        """Run a batch; while the breaker is open, fail at once. `on_open` is called on the thread that opens it."""
        if self.is_open:
            return [BackendError("the model is failing") for _ in payloads]
        results = self._run(payloads)
        if not all(isinstance(result, BackendError) for result in results):
            self._failures = 0
        else:
            self._failures += 1
            if self._failures >= _FAILURES:
                self._failures = 0
                if not self._is_well() and not self.is_open:
                    self.is_open = True
                    self._on_open()
        return results

    def _is_well(self) -> bool:
        return not isinstance(self._run([self._canary])[0], BackendError)

    async def recover(self, patience_s: float) -> bool:
        """Ask the canary every now and then; close and return True when it is well, False when it stays ill.

        A run that takes longer than `patience_s` is not going to end.
        """
        for attempt in range(_ATTEMPTS):
            await asyncio.sleep(_FIRST_PAUSE_S * 2**attempt)
            try:
                async with asyncio.timeout(patience_s):
                    well = await asyncio.to_thread(self._is_well)
            except TimeoutError:
                return False
            if well:
                self.is_open = False
                return True
        return False
