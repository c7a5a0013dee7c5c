"""Replicas in simulated time: an event loop, slots, and the policy that forms batches, in each of them. Pure.

An event loop does one thing at a time, in the order of arrival: it reads a request, and later writes its response. A
batch takes a slot for the time that the cost model gives. There are as many cores as slots, and the event loop goes
first: while it works and every core has a batch, the batches get what is left of the cores.
"""

import heapq
import math
import random
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import count, repeat

import numpy as np
from numpy.typing import NDArray

from ..scheduling import CostModel
from .policy import LANE, Policy, Text
from .replica import Batch, Replica

# The part of the event loop's time for a request that comes before the model; the rest writes the response.
_BEFORE = 0.7
_NO_TIME_S = 1e-9
_REFUSED = -1.0  # in place of a latency

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Work:
    """What a request needs in milliseconds, apart from the model.

    `beside_ms` is processor time of other programs on the same cores, such as a proxy.
    """

    request_ms: float = 0.0
    hit_ms: float = 0.0
    extra_ms: float = 0.0
    beside_ms: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """What happened to the requests. The arrays have one value for each request that was answered, in milliseconds.

    `loop_ms` is the time for the event loop, with the wait for it, `queue_ms` the wait for a slot, and `run_ms` the
    run of the batch. `model_share` and `loop_share` are the parts of the time in which a slot and an event loop work.
    """

    seconds: float
    refused: int
    latency_ms: Floats
    queue_ms: Floats
    run_ms: Floats
    model_share: float
    loop_share: float

    @property
    def refused_share(self) -> float:
        """Return the share of the requests that were refused."""
        return self.refused / max(1, self.refused + len(self.latency_ms))

    @property
    def texts_per_s(self) -> float:
        """Return the requests that were answered in a second."""
        return len(self.latency_ms) / self.seconds

    @property
    def loop_ms(self) -> Floats:
        """Return what is neither the queue nor the model."""
        rest: Floats = self.latency_ms - self.queue_ms - self.run_ms
        return rest


class Simulation:
    """Runs requests through replicas. A request goes to the replica with the fewest in progress."""

    def __init__(
        self,
        policies: Sequence[Policy],
        cost: CostModel,
        *,
        slots: int,
        work: Work | None = None,
        max_wait_ms: float = math.inf,
        delays_ms: Sequence[float] = (0.0,),
    ) -> None:
        """There is one policy for each replica. `max_wait_ms`: a request that would have to wait longer is refused.

        A batch with a text that has not run before takes one of `delays_ms` longer than the cost model says, drawn at
        random with a fixed seed.
        """
        self._replicas = [Replica(policy, slots) for policy in policies]
        self._order = deque(self._replicas)  # those with equally many requests take turns
        self._cost, self._slots, self._work, self._max_wait_ms = cost, slots, work or Work(), max_wait_ms
        self._delays_ms, self._rng = delays_ms, random.Random(5)
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._number = count()
        self._outcomes: list[tuple[float, float, float, float]] = []  # arrival, latency, queue and run in seconds
        self._loop_s, self._model_s = 0.0, 0.0
        self._on_answer: Callable[[float], None] = lambda _: None

    def run(
        self,
        tokens: Sequence[int],
        *,
        parts: Sequence[int] = (),
        arrivals_s: Iterable[float] | None = None,
        clients: int = 0,
        skip: int = 0,
    ) -> Result:
        """Send a request for each number of tokens, 0 for one that the cache answers, until all have an outcome.

        `parts` is how many parts of the model each text goes through: one without it. In an open loop, they arrive at
        `arrivals_s`. In a closed loop, each of `clients` sends the next request when it has the response to the
        previous one. The first `skip` of them do not count: nothing was queued before.
        """
        texts = zip(tokens, parts or repeat(1), strict=bool(parts))
        arrivals = iter([*arrivals_s] if arrivals_s is not None else [0.0] * min(clients, len(tokens)))

        def arrive(now_s: float) -> None:
            text = next(texts, None)
            if text is not None:
                self._arrive(now_s, *text)
            if arrivals_s is not None:
                follow()

        def follow() -> None:
            due_s = next(arrivals, None)
            if due_s is not None:
                self._at(due_s, arrive)

        if arrivals_s is None:
            self._on_answer = lambda now_s: self._at(now_s, arrive)
            for due_s in arrivals:
                self._at(due_s, arrive)
        else:
            follow()
        end_s = 0.0
        while self._events:
            end_s, _, event = heapq.heappop(self._events)
            event(end_s)
        return self._result(end_s, skip)

    def _result(self, end_s: float, skip: int) -> Result:
        outcomes = sorted(self._outcomes)[skip:]
        answered = [each for each in outcomes if each[1] != _REFUSED]
        rows = np.array(answered, dtype=np.float64).reshape(-1, 4) * 1000
        slots = len(self._replicas) * self._slots
        seconds = max(end_s, _NO_TIME_S)
        return Result(
            seconds,
            len(outcomes) - len(answered),
            rows[:, 1],
            rows[:, 2],
            rows[:, 3],
            self._model_s / slots / seconds,
            self._loop_s / len(self._replicas) / seconds,
        )

    def _at(self, time_s: float, event: Callable[[float], None]) -> None:
        heapq.heappush(self._events, (time_s, next(self._number), event))

    def _loop(self, replica: Replica, now_s: float, work_ms: float, event: Callable[[float], None]) -> None:
        """Let the event loop work when it has done everything else, then do something."""
        if not work_ms:
            event(now_s)
            return
        replica.advance(now_s)
        self._loop_s += work_ms / 1000
        replica.free_s = max(replica.free_s, now_s) + work_ms / 1000
        self._at(replica.free_s, event)

    def _arrive(self, now_s: float, tokens: int, parts: int) -> None:
        replica = min(self._order, key=lambda each: each.in_progress)
        self._order.remove(replica)
        self._order.append(replica)
        replica.in_progress += 1
        replica.advance(now_s)
        replica.delay(self._work.beside_ms)
        text = Text(tokens, now_s, LANE)
        text.arrived_s, text.parts = now_s, parts
        if tokens:
            before_ms = self._work.request_ms * _BEFORE
            self._loop(replica, now_s, before_ms, lambda ready_s: self._queue(replica, text, ready_s))
        else:
            text.started_s = now_s
            self._loop(replica, now_s, self._work.hit_ms, lambda end_s: self._answer(replica, text, end_s))

    def _queue(self, replica: Replica, text: Text, now_s: float) -> None:
        replica.advance(now_s)
        if (
            len(replica.running) == self._slots
            and replica.busy_ms() + replica.policy.backlog_ms() > self._max_wait_ms * self._slots
        ):
            self._outcomes.append((text.arrived_s, _REFUSED, 0.0, 0.0))
            replica.in_progress -= 1
            self._on_answer(now_s)
            return
        text.due = text.queued_s = now_s
        replica.policy.push(text)
        self._wake(replica, now_s)

    def _wake(self, replica: Replica, time_s: float) -> None:
        if not replica.woken:
            replica.woken = True
            self._at(time_s, lambda now_s: self._fill(replica, now_s))

    def _fill(self, replica: Replica, now_s: float) -> None:
        replica.woken = False
        replica.advance(now_s)
        while (idle := self._slots - len(replica.running)) and (
            texts := replica.policy.take(now_s, idle, self._slots, replica.busy_ms())
        ):
            run_ms = sum(map(self._cost.predict, replica.policy.costs_of(texts)))
            self._model_s += run_ms / 1000
            is_new = any(text.started_s == math.inf for text in texts)
            delay_ms = self._rng.choice(self._delays_ms) if is_new else 0.0
            run_s = max(_NO_TIME_S, (run_ms + delay_ms) / 1000)
            for text in texts:
                text.started_s = min(text.started_s, now_s)
            replica.running.append(Batch(texts, run_s))
        for batch in replica.running:
            self._await(replica, batch)
        if idle and (due_s := replica.policy.due_s()) < math.inf:
            self._at(max(now_s, due_s), lambda time_s: self._fill(replica, time_s))

    def _await(self, replica: Replica, batch: Batch) -> None:
        """Look at a batch when it should have ended."""
        batch.event += 1
        event = batch.event
        self._at(replica.end_s(batch), lambda now_s: self._finish(replica, batch, event, now_s))

    def _finish(self, replica: Replica, batch: Batch, event: int, now_s: float) -> None:
        if batch.event != event:
            return
        replica.advance(now_s)
        if batch.left_s > _NO_TIME_S:  # it has been delayed
            self._await(replica, batch)
            return
        replica.running.remove(batch)
        for text in replica.policy.finish(batch.texts):
            text.run_s = now_s - text.started_s
            self._loop(
                replica,
                now_s,
                self._work.request_ms * (1 - _BEFORE),
                lambda end_s, text=text: self._answer(replica, text, end_s),  # type: ignore[misc]
            )
        self._wake(replica, now_s)

    def _answer(self, replica: Replica, text: Text, now_s: float) -> None:
        replica.in_progress -= 1
        queue_s = text.started_s - text.queued_s if text.tokens else 0.0
        latency_s = now_s - text.arrived_s + self._work.extra_ms / 1000
        self._outcomes.append((text.arrived_s, latency_s, queue_s, text.run_s))
        self._on_answer(now_s)
