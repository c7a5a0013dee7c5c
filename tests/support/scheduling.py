"""A scheduler whose batches are lists of words, and what its tests need to control and observe it."""

import asyncio
import math
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from app.scheduling import CostModel, Lane, RunBatch, Scheduler, SchedulerLimits, WorkItem
from app.scheduling import scheduler as module
from tests.support.waiting import HANG_S

Item = WorkItem[str, str]

LAYOUT = {"skips_padding": True}  # keyword arguments of each lane; the fixture `layout` sets them


@pytest.fixture(autouse=True, params=[True, False], ids=["mixed", "padded"])
def layout(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each test for models that skip padding and for models that compute it, in virtual time."""
    monkeypatch.setitem(LAYOUT, "skips_padding", request.param)
    monkeypatch.setattr(module, "time", clock)


class Clock:
    """The scheduler's time, in place of the module `time`. It passes when a test says so, and a little at each look."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        self.now_s += 1e-5  # as a batch that takes no time does not exist
        return self.now_s

    def advance(self, seconds: float) -> None:
        self.now_s += seconds


clock = Clock()


class Gate:
    """Runs batches once it is `open`, and records them."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.open = threading.Event()

    def __call__(self, payloads: Sequence[str], *, alone: bool = False) -> list[str | Exception]:
        self.batches.append(list(payloads))
        assert self.open.wait(HANG_S)
        return [payload.upper() for payload in payloads]


def upper(payloads: Sequence[str], *, alone: bool = False) -> list[str | Exception]:
    return [payload.upper() for payload in payloads]


class Recorder:
    """Keeps what the metrics would count."""

    def __init__(self) -> None:
        self.finished: list[tuple[int, int]] = []  # texts and tokens of each batch
        self.refusals: list[str] = []

    def batch_finished(self, texts: int, tokens: int, queue_s: float, run_s: float, requests: Sequence[Any]) -> None:
        assert queue_s >= 0
        assert run_s >= 0
        self.finished.append((texts, tokens))

    def refused(self, reason: str) -> None:
        self.refusals.append(reason)


recorder = Recorder()
LANES: list[Lane] = []  # those of this test run; new items are of the last
settled: list[object] = []  # what each item was settled with, in order


@asynccontextmanager
async def scheduling(
    run: Callable[[Sequence[str]], Sequence[str | Exception]],
    slots: int = 1,
    on_stall: Callable[[], None] = lambda: None,
    **limits: float,
) -> AsyncIterator[Scheduler[str, str]]:
    """Yield a scheduler that estimates 1 ms per batch and 0.1 ms per token; reset `recorder` and `settled`."""
    recorder.__init__()  # type: ignore[misc]
    settled.clear()
    use_lane(run)
    scheduler: Scheduler[str, str] = Scheduler(
        slots=slots,
        limits=SchedulerLimits(**{"max_wait_ms": math.inf, "run_timeout_s": HANG_S, **limits}),  # type: ignore[arg-type]
        cost=CostModel(base_ms=1.0, token_ms=0.1),
        observer=recorder,
        on_stall=on_stall,
    )
    try:
        yield scheduler
    finally:
        if isinstance(run, Gate):
            run.open.set()
        scheduler.close()


class Request:
    """The items of a request, and a future of the result of each."""

    def __init__(self, items: list[Item], futures: list[asyncio.Future[str]]) -> None:
        self.items = items
        self.futures = futures

    async def results(self) -> list[str]:
        return await asyncio.gather(*self.futures)


def use_lane(run: RunBatch[str, str], **options: Any) -> Lane:
    """Make `new_items` return items of a new lane."""
    LANES.append(Lane(run, **LAYOUT, **options))
    return LANES[-1]


def new_items(*texts: str, tokens: int = 5, lane: Lane | None = None) -> list[Item]:
    return [WorkItem(tokens, text, settled.append, lane or LANES[-1]) for text in texts]


def submit(
    scheduler: Scheduler[str, str],
    *texts: str,
    tokens: int = 5,
    timeout_s: float = 10,
    caller: str = "",
    most_lanes: int = 0,
) -> Request:
    """Submit the texts of a request, each of `tokens` tokens, and join them."""
    deadline_s = clock.monotonic() + timeout_s
    items = new_items(*texts, tokens=tokens)
    for item in items:
        item.most_lanes = most_lanes
    scheduler.submit(items, deadline_s, caller)
    return Request(items, [scheduler.join(item, deadline_s, caller) for item in items])
