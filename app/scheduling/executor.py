"""The threads that run batches, one batch each."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from ..cpu import give_way
from ..errors import BackendError
from .lane import Lane

P = TypeVar("P")
R = TypeVar("R")

Done = Callable[[Sequence[R | Exception], float, Sequence[Lane]], None]


class BatchExecutor(Generic[P, R]):
    """Runs batches in `slots` threads and hands the results back to the event loop."""

    def __init__(self, slots: int) -> None:
        self._threads = ThreadPoolExecutor(slots, thread_name_prefix="slot", initializer=give_way)

    def start(self, lane: Lane, payloads: Sequence[P], done: Done[R], *, alone: bool = False) -> None:
        """Run a batch of a lane; `done` gets a result or an error for each payload.

        It also gets the seconds that this took, and the lanes that have run: a single payload goes on at once.
        """
        loop = asyncio.get_running_loop()
        try:
            self._threads.submit(self._work, loop, lane, payloads, done, alone)
        except RuntimeError as error:  # no thread could be started
            failure = f"the model could not be run ({type(error).__name__})"
            loop.call_soon(done, [BackendError(failure) for _ in payloads], 0.0, [lane])

    def close(self) -> None:
        """Start nothing more. Batches that run are not waited for."""
        self._threads.shutdown(wait=False)

    @classmethod
    def _work(
        cls, loop: asyncio.AbstractEventLoop, lane: Lane, payloads: Sequence[P], done: Done[R], alone: bool
    ) -> None:
        """Run a batch, in a thread. One call back to the loop is cheaper than the futures of `run_in_executor`."""
        started_s = time.perf_counter()
        results: Sequence[R | Exception] = cls._run(lane, payloads, alone)
        lanes = [lane]
        while len(results) == 1 and (following := lanes[-1].after(results[0])):
            lanes.append(following)
            results = cls._run(following, results, alone)
        with contextlib.suppress(RuntimeError):  # the loop is closed, so nobody waits
            loop.call_soon_threadsafe(done, results, time.perf_counter() - started_s, lanes)

    @staticmethod
    def _run(lane: Lane, payloads: Sequence[object], alone: bool) -> Sequence[R | Exception]:
        try:
            results = lane.run(payloads, alone=alone)
            if len(results) != len(payloads):
                raise BackendError("results for another number of texts")
        except BaseException as error:  # a panic in a library written in Rust is not an Exception
            return [BackendError(f"the model failed ({type(error).__name__})") for _ in payloads]
        return results
