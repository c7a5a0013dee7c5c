"""Batches are formed when a slot is free, and each text gets its own result or error."""

import asyncio
import os
import sys
import threading
from collections.abc import Sequence

import pytest

from app.errors import BackendError, NotReady
from app.scheduling import CostModel, Lane, Scheduler, SchedulerLimits
from app.scheduling.executor import Done
from tests.support.scheduling import (
    Gate,
    Recorder,
    clock,
    layout,
    recorder,
    scheduling,
    settled,
    submit,
    upper,
    use_lane,
)
from tests.support.waiting import async_until

__all__ = ["layout"]


async def test_a_lone_text_runs_at_once_and_skips_the_queue() -> None:
    async with scheduling(upper) as scheduler:
        request = submit(scheduler, "a")
        assert scheduler.depth == 0
        assert await request.results() == ["A"]
        (item,) = request.items
        assert item.arrived_s <= item.started_s <= item.finished_s
        assert recorder.finished == [(1, 5)]


async def test_texts_that_arrive_while_all_slots_are_busy_form_one_batch() -> None:
    gate = Gate()
    async with scheduling(gate) as scheduler:
        requests = [submit(scheduler, text) for text in "abcd"]
        assert scheduler.depth == 3
        gate.open.set()
        assert [await request.results() for request in requests] == [["A"], ["B"], ["C"], ["D"]]
        assert gate.batches == [["a"], ["b", "c", "d"]]


async def test_a_late_text_joins_the_batch_that_forms_when_a_slot_is_free() -> None:
    gate = Gate()
    async with scheduling(gate) as scheduler:
        requests = [submit(scheduler, text) for text in "ab"]
        await async_until(lambda: gate.batches)
        requests.append(submit(scheduler, "c"))
        gate.open.set()
        for request in requests:
            await request.results()
        assert gate.batches[1] == ["b", "c"]


async def test_a_list_is_split_over_the_idle_slots() -> None:
    gate = Gate()
    async with scheduling(gate, slots=2) as scheduler:
        request = submit(scheduler, "a", "b", "c", "d")
        gate.open.set()
        assert await request.results() == ["A", "B", "C", "D"]
        assert sorted(gate.batches) == [["a", "b"], ["c", "d"]]


async def test_each_text_gets_its_own_result_or_its_own_error() -> None:
    def run(payloads: Sequence[str], *, alone: bool = False) -> list[str | Exception]:
        return [BackendError("bad") if payload == "b" else payload.upper() for payload in payloads]

    async with scheduling(run) as scheduler:
        request = submit(scheduler, "a", "b", "c")
        first, second, third = await asyncio.gather(*request.futures, return_exceptions=True)
        assert (first, third) == ("A", "C")
        assert isinstance(second, BackendError)


@pytest.mark.parametrize(("text", "error"), [("raise", "ValueError"), ("miscount", "BackendError")])
async def test_a_run_that_raises_or_miscounts_fails_all_its_texts(text: str, error: str) -> None:
    def broken(payloads: Sequence[str], *, alone: bool = False) -> list[str | Exception]:
        if payloads == ["raise"]:
            raise ValueError("the text raise")
        return ["too", "many"]

    async with scheduling(broken) as scheduler:
        with pytest.raises(BackendError) as caught:
            await submit(scheduler, text).results()
        assert str(caught.value) == f"the model failed ({error})"
        assert scheduler.predicted_wait_ms() == 0  # the slot is free again


async def test_a_text_without_tokens_gets_a_result() -> None:
    async with scheduling(upper) as scheduler:
        assert await submit(scheduler, "a", tokens=0).results() == ["A"]
        assert await submit(scheduler, "b").results() == ["B"]


async def test_a_cancelled_text_costs_nothing_and_affects_no_other() -> None:
    gate = Gate()
    async with scheduling(gate) as scheduler:
        running, request = submit(scheduler, "a"), submit(scheduler, "b", "c")
        request.futures[0].cancel()
        scheduler.leave(request.items[0])
        assert settled == [None]
        assert scheduler.depth == 1
        gate.open.set()
        assert await running.results() == ["A"]
        assert await request.futures[1] == "C"
        assert gate.batches == [["a"], ["c"]]


async def test_a_text_runs_as_long_as_one_of_its_requests_stays() -> None:
    gate = Gate()
    async with scheduling(gate) as scheduler:
        submit(scheduler, "a")
        request = submit(scheduler, "b")
        second = scheduler.join(request.items[0], clock.now_s + 5)
        request.futures[0].cancel()
        scheduler.leave(request.items[0])
        gate.open.set()
        assert await second == "B"


async def test_a_run_that_hangs_fails_all_requests_and_is_reported() -> None:
    gate = Gate()
    stalls: list[bool] = []
    async with scheduling(gate, run_timeout_s=0.05, on_stall=lambda: stalls.append(True)) as scheduler:
        for request in [submit(scheduler, "a"), submit(scheduler, "b")]:
            with pytest.raises(BackendError, match="stopped answering"):
                await request.results()
        assert stalls == [True]
        with pytest.raises(NotReady):
            submit(scheduler, "c")


async def test_close_fails_all_requests_that_still_wait() -> None:
    gate = Gate()
    async with scheduling(gate) as scheduler:
        requests = [submit(scheduler, "a"), submit(scheduler, "b")]
        scheduler.close()
        for request in requests:
            with pytest.raises(NotReady):
                await request.results()
        with pytest.raises(NotReady):
            submit(scheduler, "c")
        assert [type(result) for result in settled] == [NotReady, NotReady]


async def test_an_observer_that_fails_costs_no_request_its_result() -> None:
    class Broken(Recorder):
        def batch_finished(self, *_: float) -> None:
            raise ValueError("no metrics today")

    use_lane(upper)
    scheduler: Scheduler[str, str] = Scheduler(
        slots=1, limits=SchedulerLimits(), cost=CostModel(), observer=Broken(), on_stall=lambda: None
    )
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    assert await submit(scheduler, "a").results() == ["A"]
    assert await submit(scheduler, "b").results() == ["B"]
    scheduler.close()


async def test_requests_fail_if_no_thread_can_be_started() -> None:
    async with scheduling(upper) as scheduler:
        scheduler._executor._threads.shutdown()
        with pytest.raises(BackendError, match="could not be run"):
            await submit(scheduler, "a").results()
        assert scheduler.predicted_wait_ms() == 0


async def test_slots_have_a_lower_priority_than_the_event_loop() -> None:
    def niceness(payloads: Sequence[str], *, alone: bool = False) -> list[str | Exception]:
        return [str(os.getpriority(os.PRIO_PROCESS, threading.get_native_id())) for _ in payloads]

    async with scheduling(niceness) as scheduler:
        (result,) = await submit(scheduler, "a").results()
    if sys.platform == "linux":
        assert result == str(min(19, os.getpriority(os.PRIO_PROCESS, 0) + 5))


async def test_the_cost_model_learns_from_results_but_not_from_failures() -> None:
    def slow(payloads: Sequence[str], *, alone: bool = False) -> list[str | Exception]:
        clock.advance(0.02)
        return [BackendError("no") if payload == "fail" else payload for payload in payloads]

    cost = CostModel(base_ms=0.001, token_ms=0.001)
    use_lane(slow)
    scheduler: Scheduler[str, str] = Scheduler(
        slots=1, limits=SchedulerLimits(), cost=cost, observer=Recorder(), on_stall=lambda: None
    )
    with pytest.raises(BackendError):
        await submit(scheduler, "fail").results()
    assert cost.predict(5) < 1
    await submit(scheduler, "a").results()
    assert cost.predict(5) == pytest.approx(20, rel=0.05)
    scheduler.close()


async def test_a_batch_is_alone_after_16_that_never_overlapped() -> None:
    alone: list[bool] = []

    def run(payloads: Sequence[str], **options: bool) -> list[str | Exception]:
        alone.append(options["alone"])
        return upper(payloads)

    async with scheduling(run, slots=2) as scheduler:
        for number in range(30):
            await submit(scheduler, str(number)).results()
        assert not any(alone[:16])
        assert all(alone[16:])


async def test_batches_that_overlap_are_not_alone() -> None:
    alone: list[bool] = []
    gate = Gate()

    def run(payloads: Sequence[str], **options: bool) -> list[str | Exception]:
        alone.append(options["alone"])
        return gate(payloads) if payloads[0].startswith("held") else upper(payloads)

    async with scheduling(run, slots=2) as scheduler:
        for number in range(20):
            await submit(scheduler, str(number)).results()
        requests = [submit(scheduler, "held 1"), submit(scheduler, "held 2")]
        gate.open.set()
        for request in requests:
            await request.results()
        await submit(scheduler, "after").results()
        assert sorted(alone[20:22]) == [False, True]
        assert alone[22] is False


class Panic(BaseException):
    """As an exception from a library written in Rust."""


async def test_a_panic_of_the_model_fails_its_texts_and_frees_the_slot() -> None:
    def panics(payloads: Sequence[str], *, alone: bool = False) -> list[str | Exception]:
        raise Panic

    async with scheduling(panics) as scheduler:
        for _ in range(2):
            with pytest.raises(BackendError, match="Panic"):
                await submit(scheduler, "a").results()


async def test_a_batch_that_ends_twice_frees_one_slot() -> None:
    """If a thread cannot be started the batch fails, but another thread may still run it."""
    async with scheduling(upper) as scheduler:
        start = scheduler._executor.start

        def start_twice(lane: Lane, payloads: Sequence[str], done: Done[str], *, alone: bool = False) -> None:
            asyncio.get_running_loop().call_soon(done, [BackendError("no thread") for _ in payloads], 0.0, [lane])
            start(lane, payloads, done, alone=alone)

        scheduler._executor.start = start_twice  # type: ignore[method-assign]
        with pytest.raises(BackendError, match="no thread"):
            await submit(scheduler, "a").results()
        await async_until(lambda: len(recorder.finished) >= 1)
        await asyncio.sleep(0.05)
        assert scheduler._slots.idle == scheduler._slots.count
