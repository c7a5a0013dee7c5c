"""The scheduler in simulated time: callers that send requests, and a model that takes the time that its tokens say."""

import asyncio
import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from app.errors import SentimentError
from app.scheduling import Lane, Scheduler, WorkItem
from tests.support.scheduling import clock, upper, use_lane

BASE_MS, TOKEN_MS = 1.0, 0.1  # what the scheduler of `scheduling` estimates


@dataclass
class Traffic:
    """Requests of one caller: `texts` texts of so many tokens each.

    With an interval it sends them at regular times. Otherwise each of its connections sends the next one as soon as it
    has the response, and repeats one that is refused after `retry_s`.
    """

    caller: str
    tokens: int = 10
    texts: int = 1
    interval_s: float = 0.0
    connections: int = 1
    retry_s: float = 0.02
    timeout_s: float = 10.0
    outcomes: Counter[str] = field(default_factory=Counter)

    @property
    def refused(self) -> int:
        return self.outcomes.total() - self.outcomes["ok"]


class Simulation:
    """Runs traffic against a scheduler until a time; the executor is replaced by one that only takes time."""

    def __init__(self, scheduler: Scheduler[Any, Any], traffic: Sequence[Traffic], seed: int = 0) -> None:
        self._scheduler = scheduler
        self._rng = random.Random(seed)
        self._order = itertools.count()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._ended = False
        self._lane = use_lane(upper)
        scheduler._executor = self  # type: ignore[assignment]
        for each in traffic:
            for _ in range(each.connections):
                offset_s = self._rng.random() * (each.interval_s or 0.01)
                self._at(clock.now_s + offset_s, partial(self._send, each))

    def _at(self, time_s: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (time_s, next(self._order), event))

    def start(
        self, lane: Lane, payloads: Sequence[int], done: Callable[[Any, float, Any], None], *, alone: bool = False
    ) -> None:
        run_s = (BASE_MS + TOKEN_MS * sum(payloads)) / 1000
        self._at(clock.now_s + run_s, partial(done, ["ok"] * len(payloads), run_s, [lane]))

    def close(self) -> None:
        pass

    def _send(self, traffic: Traffic) -> None:
        if traffic.interval_s:
            self._at(clock.now_s + traffic.interval_s, partial(self._send, traffic))
        deadline_s = clock.now_s + traffic.timeout_s
        try:
            wait = self._scheduler.admit(traffic.texts, deadline_s, traffic.caller, cost=traffic.tokens)
            items = [WorkItem(traffic.tokens, traffic.tokens, lambda _: None, self._lane) for _ in range(traffic.texts)]
            self._scheduler.submit(items, deadline_s, traffic.caller, admitted=wait)
        except SentimentError as error:
            self._finish(traffic, type(error).__name__, traffic.retry_s)
            return
        waiter = asyncio.gather(*(self._scheduler.join(item, deadline_s, traffic.caller) for item in items))

        def answered(_: object) -> None:
            error = waiter.exception()
            outcome = type(error).__name__ if error else "ok" if clock.now_s <= deadline_s else "late"
            self._finish(traffic, outcome, 0.0 if outcome == "ok" else traffic.retry_s)

        waiter.add_done_callback(answered)

    def _finish(self, traffic: Traffic, outcome: str, pause_s: float) -> None:
        if self._ended:  # the scheduler is being closed
            return
        traffic.outcomes[outcome] += 1
        if not traffic.interval_s:
            self._at(clock.now_s + pause_s, partial(self._send, traffic))

    async def run(self, seconds: float) -> None:
        end_s = clock.now_s + seconds
        while self._events[0][0] < end_s:
            time_s, _, event = heapq.heappop(self._events)
            clock.now_s = max(clock.now_s, time_s)
            event()
            for _ in range(3):  # futures, and what the scheduler does later
                await asyncio.sleep(0)
        self._ended = True
