"""Requests for the same text share one computation, and each may leave it at any time."""

import asyncio
import contextlib
import random

import pytest

from app.errors import BackendError, DeadlineExceeded, Overloaded
from app.scheduling import WorkItem
from app.types import Payload, Prediction
from tests.support.bench import Bench, serving
from tests.support.waiting import async_until


async def hold(bench: Bench, text: str = "x") -> "asyncio.Task[list[str]]":
    """Keep the only slot busy with a text until `bench.open` is set."""
    task = asyncio.create_task(bench.labels(text))
    await async_until(lambda: bench.runs)
    return task


async def test_identical_texts_in_flight_share_one_computation() -> None:
    async with serving(is_open=False) as bench:
        requests = [asyncio.create_task(bench.predict("a b")) for _ in range(5)]
        await async_until(lambda: bench.count("joined") == 4)
        bench.open.set()
        answers = await asyncio.gather(*requests)
        assert [answer.cache for answer in answers] == ["miss"] + ["joined"] * 4
        assert bench.runs == [[2]]
        assert (bench.count("miss"), bench.count("joined"), bench.count("hit")) == (1, 4, 0)


async def test_a_text_in_flight_can_be_joined_while_others_are_refused() -> None:
    async with serving(is_open=False, max_wait_ms=1) as bench:
        first = await hold(bench, "a b")
        await async_until(lambda: bench.service.predicted_wait_ms() > 1)
        joined = asyncio.create_task(bench.labels("a b"))
        await async_until(lambda: bench.count("joined") == 1)
        with pytest.raises(Overloaded):
            await bench.labels("another")
        bench.open.set()
        assert await first == await joined == ["2"]


async def test_joined_texts_take_no_room_in_the_queue() -> None:
    async with serving(is_open=False, max_queue_texts=4) as bench:
        running = await hold(bench)
        first = asyncio.create_task(bench.labels("a", "a b", "a b c"))
        await async_until(lambda: bench.scheduler.depth == 3)
        second = asyncio.create_task(bench.labels("a", "a b", "a b c", "a b c d"))
        await async_until(lambda: bench.scheduler.depth == 4)
        bench.open.set()
        assert await second == [*(await first), "4"] == ["1", "2", "3", "4"]
        await running


async def test_a_joined_request_gets_its_answer_if_the_first_one_leaves() -> None:
    async with serving(is_open=False) as bench:
        running = await hold(bench)
        first = asyncio.create_task(bench.labels("a b"))
        await async_until(lambda: bench.scheduler.depth == 1)
        joined = asyncio.create_task(bench.labels("a b"))
        await async_until(lambda: bench.count("joined") == 1)
        first.cancel()
        await asyncio.wait([first])
        bench.open.set()
        assert await joined == ["2"]
        assert await running == ["1"]


async def test_a_text_that_all_requests_left_is_dropped_and_can_come_again() -> None:
    async with serving(is_open=False) as bench:
        running = await hold(bench)
        left = asyncio.create_task(bench.labels("a b"))
        await async_until(lambda: bench.scheduler.depth == 1)
        left.cancel()
        await asyncio.wait([left])
        assert bench.scheduler.depth == 0
        bench.open.set()
        await running
        assert bench.runs == [[1]]
        assert await bench.labels("a b") == ["2"]


async def test_a_deadline_ends_the_request_and_its_place_in_the_queue() -> None:
    async with serving(is_open=False) as bench:
        running = await hold(bench)
        with pytest.raises(DeadlineExceeded):
            await bench.labels("a b", timeout_ms=2000)
        assert bench.scheduler.depth == 0
        bench.open.set()
        assert await running == ["1"]
        assert bench.runs == [[1]]


async def test_a_joined_request_has_its_own_deadline() -> None:
    async with serving(is_open=False) as bench:
        running = await hold(bench)
        hasty = asyncio.create_task(bench.labels("a b", timeout_ms=2000))
        await async_until(lambda: bench.scheduler.depth == 1)
        patient = asyncio.create_task(bench.labels("a b", timeout_ms=1e6))
        with pytest.raises(DeadlineExceeded):
            await hasty
        bench.open.set()
        assert await patient == ["2"]
        await running


async def test_a_refused_list_leaves_no_computation_in_flight() -> None:
    async with serving(is_open=False, max_queue_texts=2) as bench:
        running = await hold(bench)
        queued = asyncio.create_task(bench.labels("y"))
        await async_until(lambda: bench.scheduler.depth == 1)
        with pytest.raises(Overloaded):
            await bench.labels("a", "a b")
        bench.open.set()
        await asyncio.gather(running, queued)
        assert await bench.labels("a b") == ["2"]


async def test_no_computation_stays_in_flight_whatever_the_deadlines() -> None:
    rng = random.Random(2)
    async with serving(entries=0) as bench:

        async def request(number: int) -> None:
            texts = [f"word {number % 5} {rng.randrange(50)}" for _ in range(20)]
            with contextlib.suppress(DeadlineExceeded, Overloaded):
                await bench.labels(*texts, timeout_ms=rng.choice([0.01, 0.2, 1, 3, 5000]))

        await asyncio.gather(*(request(number) for number in range(200)))
        await async_until(lambda: bench.cache._in_flight == {} and bench.scheduler.depth == 0)


async def test_each_request_of_a_random_mix_gets_exactly_one_answer() -> None:
    """Arrivals, cancellations and failures are mixed."""
    rng = random.Random(5)
    async with serving(entries=3) as bench:
        bench.failing = {4}

        async def request(number: int) -> str:
            await asyncio.sleep(rng.random() * 0.05)
            length = rng.randint(1, 8)
            text = " ".join([f"w{number % 13}"] * length)
            task = asyncio.create_task(bench.labels(text))
            if number % 5 == 0:
                await asyncio.sleep(rng.random() * 0.01)
                task.cancel()
            try:
                assert await task == [str(length)]
            except BackendError:
                assert length == 4
                return "failed"
            except asyncio.CancelledError:
                assert number % 5 == 0
                return "cancelled"
            return "answered"

        outcomes = await asyncio.gather(*(request(number) for number in range(300)))
        assert len(outcomes) == 300
        assert {"failed", "answered"} <= set(outcomes)
        assert bench.cache._in_flight == {}
        assert bench.scheduler.depth == 0
        assert bench.service.predicted_wait_ms() == 0


async def test_a_request_may_arrive_while_a_list_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """It starts at the moment at which a text that both share is about to be given up."""
    arrived: list[asyncio.Task[list[str]]] = []
    settle = WorkItem.settle

    def settle_and_arrive(item: WorkItem[Payload, Prediction], result: Prediction | Exception | None) -> None:
        settle(item, result)
        if isinstance(result, DeadlineExceeded) and not arrived:
            arrived.append(asyncio.ensure_future(bench.labels("a b c d", "a b c d e f")))

    def is_hopeless(item: WorkItem[Payload, Prediction], *_: float) -> bool:
        return item.rest_tokens > 0 and len(item._waiters) == 1

    monkeypatch.setattr(WorkItem, "settle", settle_and_arrive)
    monkeypatch.setattr(WorkItem, "is_hopeless", is_hopeless)
    async with serving(max_batch_size=1, skips_padding=True) as bench:
        with pytest.raises(DeadlineExceeded, match="cannot score this many texts"):
            await bench.labels("a", "a b", "a b c", "a b c d", "a b c d e")
        assert await arrived[0] == ["4", "6"]
        assert bench.scheduler.depth == 0
