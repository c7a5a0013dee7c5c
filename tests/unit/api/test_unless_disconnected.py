"""Work for a client stops when the client leaves, and in no other case."""

import asyncio
from collections.abc import AsyncIterator, Awaitable

import pytest
from starlette.requests import ClientDisconnect

from app.api.request import unless_disconnected
from tests.support.client import AsgiClient
from tests.support.waiting import async_until


@pytest.fixture(autouse=True)
async def no_task_is_left_behind() -> AsyncIterator[None]:
    failures: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: failures.append(context))
    before = asyncio.all_tasks()
    yield
    await async_until(lambda: asyncio.all_tasks() <= before | {asyncio.current_task()})
    assert failures == []


class Work:
    """Work that waits until the test sets its result."""

    def __init__(self) -> None:
        self.result: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.is_running = False
        self.was_cancelled = False

    async def run(self) -> str:
        self.is_running = True
        try:
            return await self.result
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise


def watched(client: AsgiClient, work: Awaitable[str]) -> "asyncio.Task[str]":
    async def request() -> str:
        await client.receive()  # the body
        return await unless_disconnected(client.receive, work)

    return asyncio.create_task(request())


async def test_the_result_of_the_work_is_returned() -> None:
    work = Work()
    task = watched(AsgiClient(), work.run())
    await async_until(lambda: work.is_running)
    work.result.set_result("done")
    assert await task == "done"
    assert task.cancelling() == 0


async def test_work_that_does_not_wait_returns_its_result() -> None:
    async def work() -> str:
        return "at once"

    assert await watched(AsgiClient(), work()) == "at once"


async def test_the_error_of_the_work_is_raised() -> None:
    work = Work()
    task = watched(AsgiClient(), work.run())
    await async_until(lambda: work.is_running)
    work.result.set_exception(ValueError("an error"))
    with pytest.raises(ValueError, match="an error"):
        await task


async def test_work_is_cancelled_when_the_client_leaves() -> None:
    client, work = AsgiClient(), Work()
    task = watched(client, work.run())
    await async_until(lambda: work.is_running)
    client.leave()
    with pytest.raises(ClientDisconnect):
        await task
    assert work.was_cancelled


async def test_other_messages_of_the_client_do_not_stop_the_work() -> None:
    client, work = AsgiClient(b"", b"late", b""), Work()
    task = watched(client, work.run())
    await async_until(client._messages.empty)
    work.result.set_result("done")
    assert await task == "done"


async def test_after_the_client_left_the_task_can_wait_again() -> None:
    client, work = AsgiClient(), Work()

    async def request() -> int:
        with pytest.raises(ClientDisconnect):
            await unless_disconnected(client.receive, work.run())
        async with asyncio.timeout(10):
            await asyncio.sleep(0)
        task = asyncio.current_task()
        assert task
        return task.cancelling()

    client.leave()
    assert await asyncio.create_task(request()) == 0


async def test_a_cancellation_from_outside_is_not_swallowed() -> None:
    work = Work()
    task = watched(AsgiClient(), work.run())
    await async_until(lambda: work.is_running)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert work.was_cancelled


@pytest.mark.parametrize("first", ["client", "server"])
async def test_a_cancellation_counts_even_if_the_client_leaves_as_well(first: str) -> None:
    client, work = AsgiClient(), Work()
    task = watched(client, work.run())
    await async_until(lambda: work.is_running)
    if first == "server":
        task.cancel()
        client.leave()
    else:
        client.leave()
        await asyncio.sleep(0)  # the message is on its way to the task
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert work.was_cancelled


@pytest.mark.parametrize("steps", range(6))
@pytest.mark.parametrize("leaves_first", [True, False])
async def test_a_client_that_leaves_as_the_work_ends_disturbs_nothing(steps: int, leaves_first: bool) -> None:
    client, work = AsgiClient(), Work()

    async def request() -> str:
        await client.receive()
        try:
            return await unless_disconnected(client.receive, work.run())
        except ClientDisconnect:
            return "left"
        finally:
            for _ in range(10):  # a cancellation that comes too late would hit what the task does next
                await asyncio.sleep(0)

    task = asyncio.create_task(request())
    await async_until(lambda: work.is_running)
    ends = [client.leave, lambda: work.result.set_result("done")]
    first, second = ends if leaves_first else reversed(ends)
    first()
    for _ in range(steps):
        await asyncio.sleep(0)
    if not work.result.done() or second == client.leave:
        second()
    assert await task in ("done", "left")
    assert task.cancelling() == 0


async def test_a_deadline_of_the_work_is_not_taken_for_a_client_that_left() -> None:
    async def work() -> str:
        async with asyncio.timeout(0.01):
            await asyncio.sleep(10)
        return "never"

    with pytest.raises(TimeoutError):
        await watched(AsgiClient(), work())
