"""What becomes of the items that a request waited for when it stops waiting."""

import asyncio
import gc
from typing import Any, cast

import pytest

from app.scheduling.item import WorkItem
from app.scheduling.scheduler import Scheduler
from app.scheduling.waiting import Waiting

Item = WorkItem[str, str]


class _Joined:
    """A scheduler of which nothing is wanted but futures."""

    def __init__(self) -> None:
        self.left: list[Item] = []

    def join(self, item: Item, _deadline_s: float) -> asyncio.Future[str]:
        return item.add_waiter()

    def leave(self, item: Item) -> None:
        self.left.append(item)


def items(count: int) -> list[Item]:
    return [WorkItem(1, str(number), lambda _result: None) for number in range(count)]


def waiting_on(scheduler: _Joined) -> Waiting[str, str]:
    return Waiting(cast("Scheduler[str, str]", scheduler), 1.0)


@pytest.mark.parametrize("count", [1, 3])
async def test_results_come_in_the_order_in_which_jobs_were_joined(count: int) -> None:
    joined, scheduler = items(count), _Joined()
    with waiting_on(scheduler) as waiting:
        waiting.join(joined)
        for item in reversed(joined):
            item.settle(f"of {item.payload}")
        assert await waiting.results() == [f"of {item.payload}" for item in joined]
    assert scheduler.left == []


async def test_a_job_that_fails_in_the_moment_in_which_its_request_gives_up_is_not_left_and_nothing_is_logged() -> None:
    logged: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: logged.append(context))
    joined, scheduler = items(1), _Joined()

    async def request() -> None:
        with waiting_on(scheduler) as waiting:
            waiting.join(joined)
            await waiting.results()

    task = asyncio.create_task(request())
    await asyncio.sleep(0)
    joined[0].settle(ValueError("an error"))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert scheduler.left == []
    del task
    joined.clear()
    gc.collect()
    await asyncio.sleep(0)
    assert logged == []


async def test_what_is_not_done_when_a_request_gives_up_is_left() -> None:
    joined, scheduler = items(3), _Joined()
    with waiting_on(scheduler) as waiting:
        waiting.join(joined)
        joined[0].settle("fine")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(waiting.results(), 0.01)
    assert scheduler.left == joined[1:]
