"""What happens to the items of a request when it stops waiting."""

import asyncio
import gc
from typing import Any, cast

import pytest

from app.errors import DeadlineExceeded
from app.scheduling import Lane, Scheduler, Waiting, WorkItem
from tests.support.scheduling import upper

Item = WorkItem[str, str]

LANE = Lane(upper)


class FakeScheduler:
    def __init__(self) -> None:
        self.left: list[Item] = []

    def join(self, item: Item, _deadline_s: float, _caller: str) -> asyncio.Future[str]:
        return item.add_waiter()

    def leave(self, item: Item) -> None:
        self.left.append(item)


def new_items(count: int) -> list[Item]:
    return [WorkItem(1, str(number), lambda _result: None, LANE) for number in range(count)]


def waiting_on(scheduler: FakeScheduler) -> Waiting[str, str]:
    return Waiting(cast("Scheduler[str, str]", scheduler), 1.0)


@pytest.mark.parametrize("count", [1, 3])
async def test_results_are_in_the_order_in_which_items_were_joined(count: int) -> None:
    items, scheduler = new_items(count), FakeScheduler()
    with waiting_on(scheduler) as waiting:
        waiting.join(items)
        for item in reversed(items):
            item.settle(f"of {item.payload}")
        assert await waiting.results() == [f"of {item.payload}" for item in items]
    assert scheduler.left == []


async def test_an_item_that_fails_as_its_request_gives_up_logs_nothing() -> None:
    logged: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: logged.append(context))
    items, scheduler = new_items(1), FakeScheduler()

    async def request() -> None:
        with waiting_on(scheduler) as waiting:
            waiting.join(items)
            await waiting.results()

    task = asyncio.create_task(request())
    await asyncio.sleep(0)
    items[0].settle(ValueError("an error"))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert scheduler.left == []
    del task
    items.clear()
    gc.collect()
    await asyncio.sleep(0)
    assert logged == []


async def test_items_that_fail_before_anybody_looks_at_them_log_nothing() -> None:
    logged: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: logged.append(context))
    items, scheduler = new_items(2), FakeScheduler()

    async def request() -> None:
        with waiting_on(scheduler) as waiting:
            waiting.join(items)
            async with asyncio.timeout(0):  # the deadline passes before the tasks for the items begin
                asyncio.get_running_loop().call_soon(items[0].settle, DeadlineExceeded("late"))
                await waiting.results_and_failures()

    with pytest.raises(TimeoutError):
        await request()
    assert scheduler.left == items[1:]
    items.clear()
    scheduler.left.clear()
    gc.collect()
    await asyncio.sleep(0)
    assert logged == []


async def test_a_request_that_gives_up_leaves_the_unfinished_items() -> None:
    items, scheduler = new_items(3), FakeScheduler()
    with waiting_on(scheduler) as waiting:
        waiting.join(items)
        items[0].settle("fine")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(waiting.results(), 0.01)
    assert scheduler.left == items[1:]
