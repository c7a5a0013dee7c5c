"""The threads that run batches, one batch each."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from ..cpu import give_way
from ..errors import BackendError

P = TypeVar("P")
R = TypeVar("R")

Done = Callable[[Sequence[R | Exception], float], None]


class Slots(Generic[P, R]):
    """Runs batches in `count` threads, and tells the event loop of what came of each."""

    def __init__(self, run: Callable[[Sequence[P]], Sequence[R | Exception]], count: int) -> None:
        self._run = run
        self._executor = ThreadPoolExecutor(count, thread_name_prefix="slot", initializer=give_way)

    def start(self, payloads: Sequence[P], done: Done[R]) -> None:
        """Run a batch; `done` gets a result or an error for each payload, and the seconds that it took."""
        loop = asyncio.get_running_loop()
        try:
            self._executor.submit(self._work, loop, payloads, done)
        except RuntimeError as error:  # no thread could be started
            failure = f"the model could not be run ({type(error).__name__})"
            loop.call_soon(done, [BackendError(failure) for _ in payloads], 0.0)

    def close(self) -> None:
        """Start no more; what runs is not waited for."""
        self._executor.shutdown(wait=False)

    def _work(self, loop: asyncio.AbstractEventLoop, payloads: Sequence[P], done: Done[R]) -> None:
        """Run a batch, in a thread. One call back to the loop is cheaper than `run_in_executor`'s futures."""
        started_s = time.perf_counter()
        results: Sequence[R | Exception]
        try:
            results = self._run(payloads)
            if len(results) != len(payloads):
                raise BackendError("answers for another number of texts")
        except Exception as error:
            results = [BackendError(f"the model failed ({type(error).__name__})") for _ in payloads]
        with contextlib.suppress(RuntimeError):  # the loop has closed: nobody waits any more
            loop.call_soon_threadsafe(done, results, time.perf_counter() - started_s)
