"""Requests that cannot be answered in time are refused, or dropped before they cost anything."""

import asyncio
import contextlib
import time
from collections.abc import Sequence

import pytest

from app.errors import DeadlineExceeded, Overloaded
from tests.support.scheduling import Gate, Item, clock, layout, new_items, recorder, scheduling, settled, submit, upper
from tests.support.waiting import HANG_S, async_until

__all__ = ["layout"]


async def test_a_text_whose_deadline_passed_in_the_queue_does_not_run() -> None:
    gate = Gate()
    async with scheduling(gate) as scheduler:
        submit(scheduler, "a")
        late = submit(scheduler, "b", timeout_s=0.3)
        clock.advance(0.4)
        gate.open.set()
        with pytest.raises(DeadlineExceeded):
            await late.results()
        assert gate.batches == [["a"]]


async def test_a_text_that_would_finish_too_late_does_not_start() -> None:
    gate = Gate()
    async with scheduling(gate) as scheduler:
        submit(scheduler, "a")
        short = submit(scheduler, "c", timeout_s=2)
        long = submit(scheduler, "b", tokens=10**7, timeout_s=2)  # minutes by the cost model
        gate.open.set()
        with pytest.raises(DeadlineExceeded):
            await long.results()
        assert await short.results() == ["C"]
        assert gate.batches == [["a"], ["c"]]


async def test_a_long_text_starts_if_nothing_waits_whatever_its_estimate() -> None:
    async with scheduling(upper) as scheduler:
        request = submit(scheduler, *"abcd", tokens=10**6, timeout_s=2)  # minutes by the cost model, which is wrong
        assert await request.results() == ["A", "B", "C", "D"]
        assert scheduler._cost.predict(10**6) < 1000


async def test_a_request_that_joins_a_text_being_dropped_has_its_own_time() -> None:
    gate = Gate()
    async with scheduling(gate) as scheduler:
        first = submit(scheduler, "a")
        late = submit(scheduler, "b", tokens=10**7, timeout_s=2)  # minutes by the cost model
        drop, joined = scheduler._drop, []

        def join_first(dropped: Item) -> None:
            joined.append(scheduler.join(dropped, clock.now_s + 1e6))
            drop(dropped)

        scheduler._drop = join_first  # type: ignore[method-assign]
        gate.open.set()
        assert await first.results() == ["A"]
        assert await late.results() == ["B"]
        assert await joined[0] == "B"
        assert settled.count("B") == 1


async def test_a_text_that_is_dropped_after_close_gets_an_error() -> None:
    async with scheduling(upper) as scheduler:
        (item,) = new_items("a")
        item.deadline_s = clock.now_s + 10
        waiter = item.add_waiter()
        scheduler.close()
        scheduler._drop(item)
        with pytest.raises(DeadlineExceeded):
            await waiter


async def test_a_request_without_any_time_left_gets_deadline_exceeded() -> None:
    async with scheduling(upper) as scheduler:
        with pytest.raises(DeadlineExceeded):
            submit(scheduler, "a", timeout_s=-0.001)


async def test_a_request_is_refused_if_it_might_miss_its_deadline() -> None:
    gate = Gate()
    async with scheduling(gate) as scheduler:
        submit(scheduler, "a")
        submit(scheduler, "b", tokens=1000)
        with pytest.raises(Overloaded):
            submit(scheduler, "c", timeout_s=0.05)
        submit(scheduler, "d", timeout_s=5)


async def test_a_request_is_refused_if_it_might_wait_for_half_of_its_time() -> None:
    gate = Gate()
    async with scheduling(gate, max_wait_ms=1e6) as scheduler:
        submit(scheduler, "a")
        submit(scheduler, "b", tokens=20_000)
        with pytest.raises(Overloaded):
            submit(scheduler, "c", timeout_s=3)
        submit(scheduler, "d", timeout_s=9)


async def test_a_request_is_refused_if_the_predicted_wait_is_too_long() -> None:
    gate = Gate()
    async with scheduling(gate, max_wait_ms=50) as scheduler:
        submit(scheduler, "a")
        submit(scheduler, "b", tokens=1000)  # 100 ms by the cost model
        with pytest.raises(Overloaded) as caught:
            submit(scheduler, "c")
        assert 0.05 < caught.value.retry_after_s < 1
        assert recorder.refusals == ["wait"]


async def test_a_slot_that_is_late_does_not_look_free() -> None:
    gate = Gate()
    async with scheduling(gate) as scheduler:
        submit(scheduler, "a")
        assert scheduler.predicted_wait_ms() == pytest.approx(1.5, abs=0.1)
        clock.advance(0.1)
        assert scheduler.predicted_wait_ms() == pytest.approx(98.5, abs=0.1)


async def test_admission_learns_from_the_waits_of_texts() -> None:
    async with scheduling(upper) as scheduler:
        requests = [submit(scheduler, text, tokens=500) for text in "abcd"]  # 50 ms each by the cost model
        for request in requests:
            await request.results()
        assert scheduler._admission.spread < 2


async def test_no_item_is_settled_before_its_request_could_join_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.scheduling.scheduler.time", time)
    async with scheduling(upper, slots=2) as scheduler:
        for _ in range(300):
            deadline_s = time.monotonic() + 0.0002
            items = new_items(*"abc")
            try:
                scheduler.submit(items, deadline_s)
            except (DeadlineExceeded, Overloaded):
                continue
            assert not any(item.settled for item in items)
            waiters = [scheduler.join(item, deadline_s) for item in items]
            await asyncio.wait(waiters)
            assert [type(waiter.exception() or "") for waiter in waiters]


async def test_a_deadline_that_passes_during_submit_settles_nothing_early(monkeypatch: pytest.MonkeyPatch) -> None:
    async with scheduling(upper) as scheduler:
        for steps in range(12):  # the deadline falls between each two readings of the clock, in turn
            ticks = (100 + count / 1000 for count in range(1000))
            monkeypatch.setattr(clock, "monotonic", lambda ticks=ticks: next(ticks))
            items = new_items(*"ab")
            with contextlib.suppress(DeadlineExceeded, Overloaded):
                scheduler.submit(items, 100 + steps / 1000 - 0.0005)
                assert not any(item.settled for item in items)
            monkeypatch.undo()
            await async_until(lambda: scheduler.depth == 0 and scheduler._slots.idle == 1)


async def test_a_list_that_cannot_finish_in_time_is_given_up_early() -> None:
    def slow(payloads: Sequence[str], *, alone: bool = False) -> list[str | Exception]:
        clock.advance(0.02)
        return upper(payloads)

    async with scheduling(slow, slots=2, max_batch_size=1) as scheduler:
        start_s = clock.now_s
        request = submit(
            scheduler, *(str(number) for number in range(1000)), tokens=100, timeout_s=5
        )  # it needs twenty
        scheduler.join(request.items[4], start_s + 5)  # the first that would be given up if no other request waited
        with pytest.raises(DeadlineExceeded, match="cannot score this many texts"):
            await request.results()
        assert 4 <= len(recorder.finished) < 20
        await asyncio.wait([request.futures[4]], timeout=HANG_S)
        assert request.futures[4].result() == "4"
