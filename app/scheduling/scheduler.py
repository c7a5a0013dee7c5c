"""The slots and fan-out: the thin asyncio loop around the policy of `admission.py`, `batching.py`, `fairness.py`.

It knows neither tokenizer nor backend nor HTTP. It is handed a function that runs a batch, and texts are opaque jobs
with a cost. There is no wait timer: a job that finds an idle slot runs at once, and a batch is formed at the moment
when a slot frees, from what has come by then.
"""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, Protocol, TypeVar

from ..errors import BackendError, DeadlineExceeded, NotReady, Overloaded, SentimentError, TextTooLong
from .admission import NO_WAIT, Admission, Wait
from .cost import CostModel
from .executor import Slots
from .fairness import Callers
from .item import Job, in_turns
from .queue import BatchQueue

P = TypeVar("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class SchedulerLimits:
    """What bounds the queue and the batches."""

    max_batch_size: int = 16
    max_batch_tokens: int = 512
    max_queue_texts: int = 4096
    max_wait_ms: float = 1000.0
    run_timeout_s: float = 30.0


class Observer(Protocol):
    """Is told what happens, for metrics."""

    def batch_finished(self, texts: int, tokens: int, queue_s: float, run_s: float) -> None:
        """A batch of `texts` ran for `run_s`; its first text had waited `queue_s`."""

    def refused(self, reason: str) -> None:
        """A request was turned away."""


@dataclass(frozen=True, slots=True)
class _Running(Generic[P, R]):
    """A batch in a slot: when it should be done, and the timer that notices when it hangs."""

    jobs: list[Job[P, R]]
    end_s: float
    watchdog: asyncio.TimerHandle


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
        packs: bool = False,
    ) -> None:
        self._slots = self._idle = slots
        self._limits = limits
        self._cost = cost
        self._observer = observer
        self._on_stall = on_stall
        self._queue: BatchQueue[Job[P, R]] = BatchQueue(
            cost, max_batch_size=limits.max_batch_size, max_batch_tokens=limits.max_batch_tokens, packs=packs
        )
        self._admission = Admission(limits.max_wait_ms, limits.max_queue_texts, observer.refused)
        self._callers: Callers[Job[P, R]] = Callers(limits.max_batch_size * slots)
        self._running: dict[int, _Running[P, R]] = {}
        self._threads: Slots[P, R] = Slots(run, slots)
        self._refusal: str | None = None  # why nothing is taken any more

    @property
    def depth(self) -> int:
        """Texts in the queue."""
        return len(self._queue)

    def predicted_wait_ms(self) -> float:
        """How long a text that came now would wait for a slot."""
        return self._wait(time.monotonic()).ms

    def _wait(self, now_s: float, caller: str | None = None) -> Wait:
        if self._idle:
            return NO_WAIT
        queued_ms = self._queue.backlog_ms(now_s)
        if caller is not None:  # what it has sent before holds up what it sends now
            queued_ms += self._queue.waiting_ms(self._callers.find(caller)) * max(1, self._callers.sharing())
        return Wait(self._running_ms(now_s) / self._slots, queued_ms / self._slots, self._queue.batch_ms())

    def admit(self, texts: int, deadline_s: float, caller: str | None = None) -> Wait:
        """Raise unless a request of so many texts could be queued now, by `caller` where callers are known.

        Raises as `Admission.check` does, and `NotReady` after `close` or a stall. Returns the predicted wait.
        """
        if self._refusal:
            raise NotReady(self._refusal)
        now_s = time.monotonic()
        wait = self._wait(now_s, caller)
        self._admission.check(wait, now_s=now_s, deadline_s=deadline_s, texts=len(self._queue) + texts)
        return wait

    def submit(self, jobs: Sequence[Job[P, R]], deadline_s: float, caller: str | None = None) -> None:
        """Admit the texts of a request, whole or not at all; those that can start do so at once.

        None of them is settled before the caller gives up control, so there is time to join them. Raises as `admit`
        does, `Overloaded` when what is ahead of a list would keep it from being done by its deadline, and `TextTooLong`
        when no queue, however empty, would hold it.
        """
        if len(jobs) > self._limits.max_queue_texts:
            raise TextTooLong(f"over {self._limits.max_queue_texts} texts and windows of texts")
        now_s = time.monotonic()  # before `admit` looks: what it finds in time is in time below, too
        wait = self.admit(len(jobs), deadline_s, caller)
        tokens = [job.tokens for job in jobs]
        turn = self._queue.first_turn(tokens) * self._slots
        if turn < len(jobs) and (self._running or self._queue):
            done_ms = (self._running_ms(now_s) + self._queue.in_turns_ms(tokens, len(jobs) / turn, now_s)) / self._slots
            if now_s + done_ms / 1000 > deadline_s:
                self._observer.refused("deadline")
                raise Overloaded("what is ahead leaves too little time; try again later", done_ms / 1000)
        client = self._callers.find(caller) if caller is not None else None
        due = min(turn, self._callers.room(client)) if client else turn
        in_turns(jobs, turn)
        for place, job in enumerate(jobs):
            job.arrived_s, job.deadline_s, job.client = now_s, deadline_s, client
            job.due_s, job.predicted = (now_s, wait) if place < due else (math.inf, NO_WAIT)
        if client:
            client.waiting.extend(jobs[due:turn])
        if self._idle and len(jobs) == 1 and not self._queue:
            self._start(list(jobs))  # the fast path: a lone text never sees the queue
        else:
            for job in jobs:
                self._queue.push(job)
            self._fill_slots(now_s)

    def join(self, job: Job[P, R], deadline_s: float) -> asyncio.Future[R]:
        """Return a future of the result of `job`. To stop waiting, cancel it and call `leave`."""
        job.deadline_s = max(job.deadline_s, deadline_s)
        if job.awaited:  # a text at the end of somebody's list, which this caller has nothing to do with
            self._queue.hasten(job, time.monotonic())
        return job.add_waiter()

    def leave(self, job: Job[P, R]) -> None:
        """A caller of `job` has gone; when it was the last and the job has not started, the job costs nothing."""
        if job.queued and job.abandoned:
            now_s = time.monotonic()
            self._learn([job], now_s, done=False)
            self._queue.discard(job)
            job.settle(None)
            self._pass_on([job], now_s)

    def close(self) -> None:
        """Take nothing any more; whoever still waits gets `NotReady`."""
        self._refuse("the server is shutting down", NotReady)
        self._threads.close()

    def _running_ms(self, now_s: float) -> float:
        """Milliseconds that the batches which run still need, added up."""
        # A batch that is late is taken to need as long again as it is late: a slot that hangs is not about to be free.
        return sum(abs(batch.end_s - now_s) for batch in self._running.values()) * 1000

    def _fill_slots(self, now_s: float) -> None:
        while self._idle and (batch := self._queue.take(self._idle)):
            self._pass_on(batch, now_s)
            end_s = now_s + self._cost.predict(self._queue.tokens_of(batch)) / 1000
            self._learn(batch, now_s)
            # What would come too late is not begun; but what came just now is, or nobody would learn what it costs.
            late = [job for job in batch if job.deadline_s <= (end_s if job.arrived_s < now_s else now_s)]
            for job in late:
                asyncio.get_running_loop().call_soon(self._drop, job)  # later: it may not have been joined
            hopeless = [job for job in batch if job.is_hopeless(self._cost.token_ms / self._slots, now_s)]
            if live := [job for job in batch if job not in late + hopeless]:
                self._start(live)
            if hopeless:  # the others of their lists leave first
                for job in hopeless:
                    job.settle(DeadlineExceeded("there is more text than can be scored in the request's time"))
                asyncio.get_running_loop().call_soon(lambda: self._fill_slots(time.monotonic()))
                return

    def _drop(self, job: Job[P, R]) -> None:
        now_s = time.monotonic()
        if not self._refusal and not job.abandoned and job.deadline_s > now_s + self._cost.predict(job.tokens) / 1000:
            job.arrived_s = job.due_s = now_s  # somebody with more time has joined it meanwhile
            self._queue.push(job)
            self._fill_slots(now_s)
        else:
            job.settle(DeadlineExceeded("there was too little time left when the text's turn came"))

    def _learn(self, jobs: Sequence[Job[P, R]], now_s: float, *, done: bool = True) -> None:
        waits = [(job.predicted, (now_s - job.arrived_s) * 1000) for job in jobs]
        self._admission.learn(waits, now_s, done=done)

    def _pass_on(self, jobs: Sequence[Job[P, R]], now_s: float) -> None:
        """These have left the queue: the next of their lists are due, those of callers with names in their turn."""
        for job in jobs:
            if job.next is None or job.settled:
                continue
            if job.client:
                job.client.waiting.append(job.next)
            else:
                self._queue.hasten(job.next, now_s)
        for client in {id(job.client): job.client for job in jobs if job.client}.values():
            while (waiting := self._callers.turn(client)) is not None:
                self._queue.hasten(waiting, now_s)

    def _start(self, jobs: list[Job[P, R]]) -> None:
        now_s = time.monotonic()
        for job in jobs:
            job.started_s = now_s
        end_s = now_s + self._cost.predict(self._queue.tokens_of(jobs)) / 1000
        watchdog = asyncio.get_running_loop().call_later(self._limits.run_timeout_s, self._stalled)
        batch = _Running(jobs, end_s, watchdog)
        self._idle -= 1
        self._running[id(batch)] = batch
        self._threads.start([job.payload for job in jobs], partial(self._finish, batch))

    def _finish(self, batch: _Running[P, R], results: Sequence[R | Exception], run_s: float) -> None:
        batch.watchdog.cancel()
        del self._running[id(batch)]
        self._idle += 1
        now_s = time.monotonic()
        first, tokens = batch.jobs[0], self._queue.tokens_of(batch.jobs)
        try:
            if not any(isinstance(result, Exception) for result in results):  # retries would spoil the fit
                # What a batch costs is its slot's time, the ways from the event loop and back to it included.
                self._cost.observe(tokens, (now_s - first.started_s) * 1000)
            self._observer.batch_finished(len(results), tokens, first.started_s - first.arrived_s, run_s)
            self._fill_slots(now_s)  # the slot first, then those who wait
        finally:
            for job, result in zip(batch.jobs, results, strict=True):
                job.finished_s = now_s
                job.settle(result)

    def _stalled(self) -> None:
        """A batch has run for longer than any should, so its thread is lost: answer everyone, take nothing more."""
        self._refuse("the model stopped answering", BackendError)
        self._on_stall()

    def _refuse(self, reason: str, error: type[SentimentError]) -> None:
        self._refusal = self._refusal or reason
        for batch in self._running.values():
            for job in batch.jobs:
                job.settle(error(reason))
        while waiting := self._queue.take():
            for job in waiting:
                job.settle(error(reason))
