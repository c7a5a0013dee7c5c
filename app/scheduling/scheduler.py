"""The thin asyncio loop around the policy in `admission`, `queue`, `fairness` and `cost`.

It knows neither tokenizer nor backend nor HTTP: it runs opaque items with a cost through a function that runs a batch.
There is no wait timer. An item that finds an idle slot runs at once; otherwise a batch is formed when a slot
becomes free, from the items that have arrived by then.
"""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Generic, TypeVar

from ..errors import BackendError, DeadlineExceeded, NotReady, Overloaded, SentimentError, TextTooLong
from .admission import NO_WAIT, NOWHERE, Admission, Elsewhere, Room, Wait
from .cost import CostModel
from .entry import cost_of, tokens_of
from .executor import BatchExecutor
from .fairness import Caller
from .item import WorkItem, link_turns, observe_going_on, requests_of
from .lane import Lane
from .limits import Observer, SchedulerLimits
from .queue import BatchQueue
from .slots import RunningBatch, Slots

P = TypeVar("P")
R = TypeVar("R")


class Scheduler(Generic[P, R]):
    """Runs items in batches of one lane, on `slots` threads. Everything else happens on the event loop.

    `on_stall` is called when a batch takes longer than allowed.
    """

    def __init__(
        self,
        *,
        slots: int,
        limits: SchedulerLimits,
        cost: CostModel,
        observer: Observer,
        on_stall: Callable[[], None],
    ) -> None:
        self._slots: Slots[P, R] = Slots(slots)
        self._limits = limits
        self._cost = cost
        self._observer = observer
        self._on_stall = on_stall
        self._queue: BatchQueue[WorkItem[P, R]] = BatchQueue(
            cost, max_batch_size=limits.max_batch_size, max_batch_tokens=limits.max_batch_tokens
        )
        self._admission = Admission(limits.max_wait_ms, limits.max_queue_texts, observer.refused)
        self._executor: BatchExecutor[P, R] = BatchExecutor(slots)
        self._refusal: str | None = None  # the reason, once nothing is accepted any more

    @property
    def depth(self) -> int:
        """Texts in the queue."""
        return len(self._queue)

    @property
    def has_spare_slot(self) -> bool:
        """Whether nothing is queued and, if there are several slots, two of them are idle."""
        return not self._queue and self._slots.idle >= min(2, self._slots.count)

    def predicted_wait_ms(self, caller: str | None = None) -> float:
        """How long a text that arrived now would wait: one of a client, or one behind everything that is due."""
        if self._slots.idle or caller is not None:
            return self._wait(time.monotonic(), self._queue.callers.find(caller or ""), 0).ms
        return (self._slots.remaining_ms(time.monotonic()) + self._queue.backlog_ms()) / self._slots.count

    def _wait(self, now_s: float, caller: Caller, cost: int) -> Wait:
        if self._slots.idle:
            return NO_WAIT
        return Wait(
            self._slots.remaining_ms(now_s) / self._slots.count,
            self._queue.wait_ms(caller, cost) / self._slots.count,
            self._queue.batch_ms(),
        )

    def admit(
        self, texts: int, deadline_s: float, caller: str = "", *, cost: int = 0, elsewhere: Elsewhere = NOWHERE
    ) -> Wait:
        """Return the predicted wait if a request of so many texts may be queued now.

        Raises as `Admission.check` does, and `NotReady` after `close` or a stall. `caller` is the name of the client,
        `cost` an estimate of `Lane.expected_cost` of a text. What is `elsewhere` counts as if it were in the queue.
        """
        if self._refusal:
            raise NotReady(self._refusal)
        now_s = time.monotonic()
        callers = self._queue.callers
        client = callers.find(caller)
        wait = self._wait(now_s, client, cost)
        room = Room(
            len(self._queue) + elsewhere.texts + texts,
            client.entries + elsewhere.own + texts,
            len(callers) + sum(name not in callers for name in {caller, *elsewhere.callers}),
        )
        self._admission.check(wait, now_s=now_s, deadline_s=deadline_s, room=room)
        return wait

    def submit(
        self,
        items: Sequence[WorkItem[P, R]],
        deadline_s: float,
        caller: str = "",
        *,
        admitted: Wait | None = None,
    ) -> None:
        """Queue the texts of a request, all or none; those that can start do so at once. All have the same lane.

        `admitted` is what `admit` returned in the same step of the event loop; without it, the request is admitted
        here. No item is settled before the caller yields to the event loop, so that there is time to join them.
        Raises as `admit` does, `Overloaded` if what is ahead of a list would keep it from meeting its deadline, and
        `TextTooLong` if no queue, however empty, could hold it.
        """
        if len(items) > self._limits.max_queue_texts:
            raise TextTooLong(f"the request has more than {self._limits.max_queue_texts} texts and windows")
        now_s = time.monotonic()  # before `admit` looks at the clock, so that what is in time there is in time here
        lane = items[0].lane
        wait = admitted or self.admit(len(items), deadline_s, caller, cost=items[0].expected_cost)
        client = self._queue.callers.find(caller)
        turn = self._queue.first_turn([item.tokens for item in items], lane) * self._slots.count
        if turn < len(items) and (self._slots.idle < self._slots.count or self._queue):
            done_ms = (
                self._slots.remaining_ms(now_s)
                + self._queue.in_turns_ms([item.expected_cost for item in items], len(items) / turn, client)
            ) / self._slots.count
            if now_s + done_ms / 1000 > deadline_s:
                self._observer.refused("deadline")
                raise Overloaded(
                    "the queue leaves too little time before the deadline; try again later", done_ms / 1000
                )
        link_turns(items, turn)
        # A caller with more than its share waits as long as it does because of that, which says nothing about others.
        predicted = wait if self._queue.callers.has_its_share(client) else NO_WAIT
        for place, item in enumerate(items):
            item.arrived_s, item.deadline_s, item.owner, item.caller = now_s, deadline_s, caller, client
            item.due, item.predicted = (0.0, predicted) if place < turn else (math.inf, NO_WAIT)
        if self._slots.idle and len(items) == 1 and not self._queue:
            self._start(list(items))  # the fast path: a lone text skips the queue
        else:
            for item in items:
                self._queue.push(item)
            self._fill_slots(now_s)

    def join(self, item: WorkItem[P, R], deadline_s: float, caller: str = "") -> asyncio.Future[R]:
        """Return a future of the result of `item`. To stop waiting, cancel it and call `leave`."""
        item.deadline_s = max(item.deadline_s, deadline_s)
        if item.awaited:  # it may be at the end of a list, or of the backlog of a caller, with which this need not wait
            self._queue.hasten(item, self._queue.callers.find(caller))
        return item.add_waiter()

    def leave(self, item: WorkItem[P, R]) -> None:
        """A request that waited for `item` has left. If it was the last and the item has not started, drop the item."""
        if item.queued and item.abandoned:
            self._learn([item], time.monotonic(), done=False)
            self._queue.discard(item)
            item.settle(None)

    def close(self) -> None:
        """Accept nothing more; requests that still wait get `NotReady`."""
        self._refuse("the server is shutting down", NotReady)
        self._executor.close()

    def _fill_slots(self, now_s: float) -> None:
        while self._slots.idle and (batch := self._queue.take(self._slots.count, self._slots.remaining_ms(now_s))):
            self._pass_on(batch)
            end_s = now_s + self._cost.predict(cost_of(batch)) / 1000
            self._learn(batch, now_s)
            # What would be late is not started. What has just arrived is, so that the cost model can learn from it.
            late = [item for item in batch if item.deadline_s <= (end_s if item.arrived_s < now_s else now_s)]
            for item in late:
                asyncio.get_running_loop().call_soon(self._drop, item)  # later: it may not have been joined yet
            hopeless = [item for item in batch if item.is_hopeless(self._cost.token_ms / self._slots.count, now_s)]
            if live := [item for item in batch if item not in late + hopeless]:
                self._start(live)
            if hopeless:  # first the rest of their lists leaves the queue
                for item in hopeless:
                    item.settle(DeadlineExceeded("the model cannot score this many texts before the deadline"))
                asyncio.get_running_loop().call_soon(lambda: self._fill_slots(time.monotonic()))
                return

    def _drop(self, item: WorkItem[P, R]) -> None:
        now_s = time.monotonic()
        if (
            not self._refusal
            and not item.abandoned
            and item.deadline_s > now_s + self._cost.predict(item.lane.cost_of(item.tokens)) / 1000
        ):
            item.arrived_s, item.due = now_s, min(item.due, 0.0)  # a request with more time has joined it
            item.caller = self._queue.callers.find(item.owner)
            self._queue.push(item)
            self._fill_slots(now_s)
        else:
            item.settle(DeadlineExceeded("too little time was left when the text's turn came"))

    def _learn(self, items: Sequence[WorkItem[P, R]], now_s: float, *, done: bool = True) -> None:
        waits = [(item.predicted, (now_s - item.arrived_s) * 1000) for item in items]
        self._admission.learn(waits, now_s, done=done)

    def _pass_on(self, items: Sequence[WorkItem[P, R]]) -> None:
        """Items have left the queue: make the next of their lists due."""
        for item in items:
            if item.next and not item.settled:
                self._queue.hasten(item.next, self._queue.callers.find(item.next.owner))

    def _go_on(self, item: WorkItem[P, R], payload: Any, lane: Lane, now_s: float) -> None:
        """An item has been through a part of its model: queue it for the next one, if anybody waits for it."""
        if item.abandoned:
            self._queue.end(item)
            item.settle(None)
        elif not item.settled:
            item.go_on(payload, lane, now_s)
            item.caller = self._queue.callers.find(item.caller.name if item.caller else item.owner)
            self._queue.push(item)

    def _start(self, items: list[WorkItem[P, R]]) -> None:
        now_s = time.monotonic()
        for item in items:
            item.started_s = item.started_s or now_s
        cost = cost_of(items) if len(items) > 1 else items[0].expected_cost  # a lone text goes on at once
        end_s = now_s + self._cost.predict(cost) / 1000
        watchdog = asyncio.get_running_loop().call_later(self._limits.run_timeout_s, self._stalled)
        batch = self._slots.start(items, now_s, end_s, watchdog)
        payloads = [item.payload for item in items]
        self._executor.start(items[0].lane, payloads, partial(self._finish, batch), alone=batch.alone)

    def _finish(
        self, batch: RunningBatch[P, R], results: Sequence[R | Exception], run_s: float, lanes: Sequence[Lane]
    ) -> None:
        if not self._slots.finish(batch):  # no thread could be started for it, but another one has run it since
            return
        now_s, first, tokens = time.monotonic(), batch.items[0], tokens_of(batch.items)
        waited_s, requests = batch.started_s - first.arrived_s, requests_of(batch.items)
        finished = []
        for item, result in zip(batch.items, results, strict=True):
            if lane := item.lane.after(result):
                self._go_on(item, result, lane, now_s)
            else:
                finished.append((item, result))
        try:
            # A batch that was split would spoil the fit.
            if not any(isinstance(result, Exception) for result in results):
                # The cost of a batch is its slot's time, including the way from the event loop and back.
                self._cost.observe(sum(lane.cost_of(tokens) for lane in lanes), (now_s - batch.started_s) * 1000)
                observe_going_on(lanes, batch.items, [item for item, _ in finished])
            self._observer.batch_finished(len(results), tokens, waited_s, run_s, requests)
            self._fill_slots(now_s)  # fill the slot first, then answer
        finally:
            for item, result in finished:
                self._queue.end(item)
                item.finished_s = now_s
                item.settle(result)

    def _stalled(self) -> None:
        """A batch takes longer than allowed, so its thread is lost: fail all requests and accept nothing more."""
        self._refuse("the model stopped answering", BackendError)
        self._on_stall()

    def _refuse(self, reason: str, error: type[SentimentError]) -> None:
        self._refusal = self._refusal or reason
        for item in self._slots.items:
            item.settle(error(reason))
        while waiting := self._queue.take():
            for item in waiting:
                item.settle(error(reason))
