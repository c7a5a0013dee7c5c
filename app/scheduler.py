"""Admission, the slots, fan-out: the thin asyncio loop around the policy of `batching.py`.

It knows neither tokenizer nor backend nor HTTP. It is handed a function that runs a batch, and texts are opaque jobs
with a cost. There is no wait timer: a job that finds an idle slot runs at once, and a batch is formed at the moment
when a slot frees, from what has come by then.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Generic, Protocol, TypeVar

from app.batching import BatchQueue, CostModel, Entry
from app.errors import BackendError, DeadlineExceeded, NotReady, Overloaded, SentimentError

P = TypeVar("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class SchedulerLimits:
    """What bounds the queue and the batches."""

    max_batch_size: int = 16
    max_batch_tokens: int = 1024
    max_queue_texts: int = 4096
    max_wait_ms: float = 1000.0
    run_timeout_s: float = 30.0


class Observer(Protocol):
    """Is told what happens, for metrics."""

    def batch_finished(self, texts: int, padded_tokens: int, queue_s: float, run_s: float) -> None:
        """A batch of `texts` ran for `run_s`; its first text had waited `queue_s`."""

    def refused(self, reason: str) -> None:
        """A request was turned away."""


class Job(Entry, Generic[P, R]):
    """A text to run and the callers that wait for it.

    Settled exactly once: with a result, with an error, or with None when every caller has left.
    """

    __slots__ = ("_settled", "_waiters", "arrived_s", "deadline_s", "finished_s", "on_settled", "payload", "started_s")

    def __init__(self, tokens: int, payload: P, now_s: float, due_s: float) -> None:
        super().__init__(tokens, due_s)
        self.payload = payload
        self.arrived_s = self.started_s = self.finished_s = self.deadline_s = now_s
        self.on_settled: Callable[[R | Exception | None], None] | None = None
        self._waiters: list[asyncio.Future[R]] = []
        self._settled = False

    def join(self, deadline_s: float) -> asyncio.Future[R]:
        """Return a future of the result. To stop waiting, cancel it and call `Scheduler.leave`."""
        self.deadline_s = max(self.deadline_s, deadline_s)
        waiter: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        return waiter

    @property
    def abandoned(self) -> bool:
        """Whether every caller has left."""
        return all(waiter.cancelled() for waiter in self._waiters)

    def settle(self, result: R | Exception | None) -> None:
        """Give every caller that still waits the answer; a second call does nothing."""
        if self._settled:
            return
        self._settled = True
        if self.on_settled is not None:
            self.on_settled(result)
        for waiter in self._waiters:
            if waiter.done():
                continue
            if isinstance(result, Exception):
                waiter.set_exception(result)
            elif result is not None:
                waiter.set_result(result)
            else:
                waiter.cancel()


class Scheduler(Generic[P, R]):
    """Runs jobs in batches on `slots` threads. Everything but the batches themselves happens on the event loop."""

    def __init__(
        self,
        run: Callable[[Sequence[P]], Sequence[R | Exception]],
        *,
        slots: int,
        limits: SchedulerLimits,
        cost: CostModel,
        observer: Observer,
        on_stall: Callable[[], None],
    ) -> None:
        self._run = run
        self._slots = self._idle = slots
        self._limits = limits
        self._cost = cost
        self._observer = observer
        self._on_stall = on_stall
        self._queue: BatchQueue[Job[P, R]] = BatchQueue(
            cost, max_batch_size=limits.max_batch_size, max_batch_tokens=limits.max_batch_tokens
        )
        self._running: dict[int, float] = {}  # batch → when it should be done
        self._executor = ThreadPoolExecutor(slots, thread_name_prefix="slot")
        self._refusal: str | None = None  # why nothing is taken any more

    @property
    def depth(self) -> int:
        """Texts in the queue."""
        return len(self._queue)

    def predicted_wait_ms(self) -> float:
        """How long a text that came now would wait for a slot."""
        if self._idle:
            return 0.0
        now_s = time.monotonic()
        running_ms = sum(max(0.0, end_s - now_s) for end_s in self._running.values()) * 1000
        return (running_ms + self._queue.backlog_ms(now_s)) / self._slots

    def submit(self, payloads: Sequence[tuple[int, P]], deadline_s: float) -> list[Job[P, R]]:
        """Admit the texts of a request, each with its tokens, whole or not at all; those that can start do so at once.

        Whoever wants a result joins its job before giving up control. Raises `Overloaded` when the wait would be too
        long for the limit or for the deadline, or the queue is full; `NotReady` after `close` or a stall.
        """
        now_s = time.monotonic()
        self._admit(len(payloads), (deadline_s - now_s) * 1000)
        due = self._queue.due_times([tokens for tokens, _ in payloads], now_s, self._slots)
        admitted: list[Job[P, R]] = []
        for (tokens, payload), due_s in zip(payloads, due, strict=True):
            job: Job[P, R] = Job(tokens, payload, now_s, due_s)
            job.deadline_s = deadline_s
            admitted.append(job)
        if self._idle and len(admitted) == 1 and not self._queue:
            self._start(admitted)  # the fast path: a lone text never sees the queue
        else:
            for job in admitted:
                self._queue.push(job)
            self._fill_slots()
        return admitted

    def leave(self, job: Job[P, R]) -> None:
        """A caller of `job` has gone; when it was the last and the job has not started, the job costs nothing."""
        if job.queued and job.abandoned:
            self._queue.discard(job)
            job.settle(None)

    def close(self) -> None:
        """Take nothing any more; what still waits gets `NotReady`, what runs is answered."""
        self._refuse("the server is shutting down", NotReady)
        self._executor.shutdown(wait=False)

    def _admit(self, texts: int, timeout_ms: float) -> None:
        if self._refusal:
            raise NotReady(self._refusal)
        wait_ms = self.predicted_wait_ms()
        if wait_ms > min(self._limits.max_wait_ms, timeout_ms):
            self._observer.refused("wait")
            raise Overloaded("the queue is too long; try again later", wait_ms / 1000)
        if len(self._queue) + texts > self._limits.max_queue_texts:
            self._observer.refused("full")
            raise Overloaded("the queue is full; try again later", wait_ms / 1000)

    def _fill_slots(self) -> None:
        while self._idle and (batch := self._queue.take(self._idle)):
            now_s = time.monotonic()
            for job in batch:
                if job.deadline_s <= now_s:
                    job.settle(DeadlineExceeded("the deadline passed before the text's turn came"))
            if live := [job for job in batch if job.deadline_s > now_s]:
                self._start(live)

    def _start(self, batch: list[Job[P, R]]) -> None:
        self._idle -= 1
        now_s = time.monotonic()
        padded_tokens = max(job.tokens for job in batch) * len(batch)
        self._running[id(batch)] = now_s + self._cost.predict(padded_tokens) / 1000
        for job in batch:
            job.started_s = now_s
        loop = asyncio.get_running_loop()
        watchdog = loop.call_later(self._limits.run_timeout_s, self._stalled, batch)
        payloads = [job.payload for job in batch]
        self._executor.submit(self._work, loop, payloads, partial(self._finish, batch, padded_tokens, watchdog))

    def _work(
        self,
        loop: asyncio.AbstractEventLoop,
        payloads: list[P],
        finish: Callable[[Sequence[R | Exception], float], None],
    ) -> None:
        """Run a batch, in a slot's thread. One call back to the loop is cheaper than `run_in_executor`'s futures."""
        started_s = time.perf_counter()
        results: Sequence[R | Exception]
        try:
            results = self._run(payloads)
            if len(results) != len(payloads):
                results = [BackendError("the model gave answers for another number of texts")] * len(payloads)
        except Exception as error:
            results = [BackendError(f"the model failed ({type(error).__name__})")] * len(payloads)
        with contextlib.suppress(RuntimeError):  # the loop has closed: nobody waits any more
            loop.call_soon_threadsafe(finish, results, time.perf_counter() - started_s)

    def _finish(
        self,
        batch: list[Job[P, R]],
        padded_tokens: int,
        watchdog: asyncio.TimerHandle,
        results: Sequence[R | Exception],
        run_s: float,
    ) -> None:
        watchdog.cancel()
        del self._running[id(batch)]
        self._idle += 1
        if not any(isinstance(result, Exception) for result in results):  # retries would spoil the fit
            self._cost.observe(padded_tokens, run_s * 1000)
        self._observer.batch_finished(len(batch), padded_tokens, batch[0].started_s - batch[0].arrived_s, run_s)
        self._fill_slots()  # the slot first, then those who wait
        now_s = time.monotonic()
        for job, result in zip(batch, results, strict=True):
            job.finished_s = now_s
            job.settle(result)

    def _stalled(self, batch: list[Job[P, R]]) -> None:
        """The batch has run for longer than any should, so its thread is lost: answer everyone, take nothing more."""
        for job in batch:
            job.settle(BackendError("the model stopped answering"))
        self._refuse("the model stopped answering", BackendError)
        self._on_stall()

    def _refuse(self, reason: str, error: type[SentimentError]) -> None:
        self._refusal = self._refusal or reason
        while waiting := self._queue.take():
            for job in waiting:
                job.settle(error(reason))
