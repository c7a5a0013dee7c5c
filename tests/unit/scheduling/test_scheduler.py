import asyncio
import contextlib
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from app.errors import BackendError, DeadlineExceeded, NotReady, Overloaded
from app.scheduling.cost import CostModel
from app.scheduling.item import WorkItem
from app.scheduling.scheduler import Scheduler, SchedulerLimits


class Gate:
    """A function that runs batches, holds them until told to go on, and remembers them."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.open = threading.Event()

    def __call__(self, payloads: Sequence[str], *, alone: bool = False) -> list[str | Exception]:
        self.batches.append(list(payloads))
        assert self.open.wait(10)
        return [payload.upper() for payload in payloads]


class Recorder:
    def __init__(self) -> None:
        self.finished: list[tuple[int, int]] = []
        self.refusals: list[str] = []

    def batch_finished(self, texts: int, tokens: int, queue_s: float, run_s: float) -> None:
        assert queue_s >= 0
        assert run_s >= 0
        self.finished.append((texts, tokens))

    def refused(self, reason: str) -> None:
        self.refusals.append(reason)


LAYOUT = {"packs": True}


@pytest.fixture(autouse=True, params=[True, False], ids=["common rows", "padded"])
def layout(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every rule holds however texts lie in a batch."""
    monkeypatch.setitem(LAYOUT, "packs", request.param)


recorder = Recorder()
settled: list[object] = []  # what each item was settled with


@asynccontextmanager
async def scheduling(
    run: Callable[[Sequence[str]], Sequence[str | Exception]],
    slots: int = 1,
    on_stall: Callable[[], None] = lambda: None,
    **limits: float,
) -> AsyncIterator[Scheduler[str, str]]:
    recorder.__init__()  # type: ignore[misc]
    settled.clear()
    scheduler: Scheduler[str, str] = Scheduler(
        run,
        slots=slots,
        limits=SchedulerLimits(**limits),  # type: ignore[arg-type]
        cost=CostModel(base_ms=1.0, token_ms=0.1),
        observer=recorder,
        on_stall=on_stall,
        **LAYOUT,
    )
    try:
        yield scheduler
    finally:
        if isinstance(run, Gate):
            run.open.set()
        scheduler.close()


def ask(
    scheduler: Scheduler[str, str], *texts: str, tokens: int = 5, timeout_s: float = 10
) -> list[tuple[WorkItem[str, str], asyncio.Future[str]]]:
    deadline_s = time.monotonic() + timeout_s
    items: list[WorkItem[str, str]] = [WorkItem(tokens, text, settled.append) for text in texts]
    scheduler.submit(items, deadline_s)
    return [(item, scheduler.join(item, deadline_s)) for item in items]


def upper(payloads: Sequence[str], *, alone: bool = False) -> list[str | Exception]:
    return [payload.upper() for payload in payloads]


async def test_a_lone_text_runs_at_once_and_never_sees_the_queue() -> None:
    async with scheduling(upper) as scheduler:
        ((item, answer),) = ask(scheduler, "a")
        assert scheduler.depth == 0
        assert await answer == "A"
        assert item.arrived_s <= item.started_s <= item.finished_s
        assert recorder.finished == [(1, 5)]


async def test_texts_that_come_while_all_slots_are_busy_form_one_batch() -> None:
    gate = Gate()
    async with scheduling(gate) as scheduler:
        asked = [ask(scheduler, text)[0] for text in "abcd"]
        assert scheduler.depth == 3
        gate.open.set()
        assert await asyncio.gather(*(answer for _, answer in asked)) == ["A", "B", "C", "D"]
        assert gate.batches == [["a"], ["b", "c", "d"]]


async def test_a_late_text_still_joins_the_batch_that_forms_when_the_slot_frees() -> None:
    gate = Gate()
    async with scheduling(gate) as scheduler:
        first = ask(scheduler, "a")
        second = ask(scheduler, "b")
        await asyncio.sleep(0.05)
        late = ask(scheduler, "c")
        gate.open.set()
        await asyncio.gather(*(answer for _, answer in first + second + late))
        assert gate.batches[1] == ["b", "c"]


async def test_a_list_is_split_over_the_slots_that_are_idle() -> None:
    gate = Gate()
    async with scheduling(gate, slots=2) as scheduler:
        asked = ask(scheduler, "a", "b", "c", "d")
        gate.open.set()
        assert await asyncio.gather(*(answer for _, answer in asked)) == ["A", "B", "C", "D"]
        assert sorted(gate.batches) == [["a", "b"], ["c", "d"]]


async def test_each_text_gets_its_own_answer_or_its_own_error() -> None:
    def run(payloads: Sequence[str], *, alone: bool = False) -> list[str | Exception]:
        return [BackendError("bad") if payload == "b" else payload.upper() for payload in payloads]

    async with scheduling(run) as scheduler:
        asked = ask(scheduler, "a", "b", "c")
        answers = await asyncio.gather(*(answer for _, answer in asked), return_exceptions=True)
        assert answers[0] == "A"
        assert answers[2] == "C"
        assert isinstance(answers[1], BackendError)


async def test_a_run_that_raises_or_miscounts_answers_everyone_with_an_error() -> None:
    def broken(payloads: Sequence[str], *, alone: bool = False) -> list[str | Exception]:
        if payloads == ["raise"]:
            raise ValueError("the text raise")
        return ["too", "many"]

    async with scheduling(broken) as scheduler:
        for text in ("raise", "count"):
            with pytest.raises(BackendError) as caught:
                await ask(scheduler, text)[0][1]
            assert str(caught.value) in ("the model failed (ValueError)", "the model failed (BackendError)")
        assert scheduler.predicted_wait_ms() == 0  # the slot is free again


async def test_a_cancelled_caller_costs_nothing_and_touches_nobody_else() -> None:
    gate = Gate()
    async with scheduling(gate) as scheduler:
        running = ask(scheduler, "a")
        (gone, waiter), (_, stays) = ask(scheduler, "b", "c")
        waiter.cancel()
        scheduler.leave(gone)
        assert settled == [None]
        assert scheduler.depth == 1
        gate.open.set()
        assert await running[0][1] == "A"
        assert await stays == "C"
        assert gate.batches == [["a"], ["c"]]


async def test_a_job_runs_while_one_of_its_callers_stays() -> None:
    gate = Gate()
    async with scheduling(gate) as scheduler:
        ask(scheduler, "a")
        ((item, first),) = ask(scheduler, "b")
        second = scheduler.join(item, time.monotonic() + 5)
        first.cancel()
        scheduler.leave(item)
        gate.open.set()
        assert await second == "B"


async def test_a_job_whose_deadline_passed_in_the_queue_is_not_run() -> None:
    gate = Gate()
    async with scheduling(gate) as scheduler:
        ask(scheduler, "a")
        ((_, late),) = ask(scheduler, "b", timeout_s=0.3)
        await asyncio.sleep(0.35)
        gate.open.set()
        with pytest.raises(DeadlineExceeded):
            await late
        assert gate.batches == [["a"]]


async def test_a_text_that_could_not_be_done_in_time_is_not_begun() -> None:
    gate = Gate()
    async with scheduling(gate) as scheduler:
        ask(scheduler, "a")
        ((_, short),) = ask(scheduler, "c", timeout_s=2)
        ((_, long),) = ask(scheduler, "b", tokens=10**7, timeout_s=2)  # minutes by the cost model
        gate.open.set()
        with pytest.raises(DeadlineExceeded):
            await long
        assert await short == "C"
        assert gate.batches == [["a"], ["c"]]


async def test_what_is_thought_to_take_too_long_is_begun_where_nothing_waits() -> None:
    async with scheduling(upper) as scheduler:
        asked = ask(scheduler, *"abcd", tokens=10**6, timeout_s=2)  # minutes by the cost model, which is wrong
        assert await asyncio.gather(*(answer for _, answer in asked)) == ["A", "B", "C", "D"]
        assert scheduler._cost.predict(10**6) < 1000


async def test_who_joins_a_text_that_is_being_dropped_has_his_own_time() -> None:
    gate = Gate()
    async with scheduling(gate) as scheduler:
        ((_, blocker),) = ask(scheduler, "a")
        ((_, late),) = ask(scheduler, "b", tokens=10**7, timeout_s=2)  # minutes by the cost model
        drop, joined = scheduler._drop, []

        def join_first(dropped: WorkItem[str, str]) -> None:
            joined.append(scheduler.join(dropped, time.monotonic() + 1e6))
            drop(dropped)

        scheduler._drop = join_first  # type: ignore[method-assign]
        gate.open.set()
        assert await blocker == "A"
        assert await late == "B"
        assert await joined[0] == "B"
        assert settled.count("B") == 1


async def test_a_text_that_is_dropped_at_the_end_is_answered() -> None:
    async with scheduling(upper) as scheduler:
        item: WorkItem[str, str] = WorkItem(5, "a", settled.append)
        item.deadline_s = time.monotonic() + 10
        waiter = item.add_waiter()
        scheduler.close()
        scheduler._drop(item)
        with pytest.raises(DeadlineExceeded):
            await waiter


async def test_slots_give_way_and_admission_learns_from_waits() -> None:
    def niceness(payloads: Sequence[str], *, alone: bool = False) -> list[str | Exception]:
        return [str(os.getpriority(os.PRIO_PROCESS, threading.get_native_id())) for _ in payloads]

    async with scheduling(niceness) as scheduler:
        asked = [ask(scheduler, text, tokens=500)[0] for text in "abcd"]  # each thought to take 50 ms
        found = await asyncio.gather(*(answer for _, answer in asked))
        assert scheduler._admission.spread < 2
    if sys.platform == "linux":
        assert set(found) == {str(min(19, os.getpriority(os.PRIO_PROCESS, 0) + 5))}


async def test_a_request_is_refused_when_it_might_wait_for_half_of_its_time() -> None:
    gate = Gate()
    async with scheduling(gate, max_wait_ms=1e6) as scheduler:
        ask(scheduler, "a")
        ask(scheduler, "b", tokens=20_000)
        with pytest.raises(Overloaded):
            ask(scheduler, "c", timeout_s=3)
        ask(scheduler, "d", timeout_s=9)


async def test_a_request_is_refused_when_the_predicted_wait_is_over_the_limit() -> None:
    gate = Gate()
    async with scheduling(gate, max_wait_ms=50) as scheduler:
        ask(scheduler, "a")
        ask(scheduler, "b", tokens=1000)  # 100 ms by the cost model
        with pytest.raises(Overloaded) as caught:
            ask(scheduler, "c")
        assert 0.05 < caught.value.retry_after_s < 1
        assert recorder.refusals == ["wait"]


async def test_a_request_is_refused_when_it_could_not_start_before_its_deadline() -> None:
    gate = Gate()
    async with scheduling(gate) as scheduler:
        ask(scheduler, "a")
        ask(scheduler, "b", tokens=1000)
        with pytest.raises(Overloaded):
            ask(scheduler, "c", timeout_s=0.05)
        ask(scheduler, "d", timeout_s=5)


async def test_a_request_without_any_time_left_is_told_so() -> None:
    async with scheduling(upper) as scheduler:
        with pytest.raises(DeadlineExceeded):
            ask(scheduler, "a", timeout_s=-0.001)


async def test_a_text_without_tokens_is_answered() -> None:
    async with scheduling(upper) as scheduler:
        assert await ask(scheduler, "a", tokens=0)[0][1] == "A"
        assert await ask(scheduler, "b")[0][1] == "B"


async def test_a_list_is_admitted_whole_or_refused_whole() -> None:
    gate = Gate()
    async with scheduling(gate, max_queue_texts=3) as scheduler:
        ask(scheduler, "a")
        ask(scheduler, "b", "c")
        with pytest.raises(Overloaded):
            ask(scheduler, "d", "e")
        assert scheduler.depth == 2
        assert recorder.refusals == ["full"]
        ask(scheduler, "f")


async def test_an_idle_scheduler_admits_a_list_however_long_it_will_take() -> None:
    async with scheduling(upper, max_wait_ms=1) as scheduler:
        asked = ask(scheduler, *"abcdefghij", tokens=5000)
        assert len(await asyncio.gather(*(answer for _, answer in asked))) == 10


async def test_a_run_that_hangs_answers_everyone_and_is_reported() -> None:
    gate = Gate()
    stalls: list[bool] = []
    async with scheduling(gate, run_timeout_s=0.05, on_stall=lambda: stalls.append(True)) as scheduler:
        running, waiting = ask(scheduler, "a"), ask(scheduler, "b")
        for _, answer in running + waiting:
            with pytest.raises(BackendError, match="stopped answering"):
                await answer
        assert stalls == [True]
        with pytest.raises(NotReady):
            ask(scheduler, "c")


async def test_after_close_everyone_who_still_waits_is_told() -> None:
    gate = Gate()
    async with scheduling(gate) as scheduler:
        running, waiting = ask(scheduler, "a"), ask(scheduler, "b")
        scheduler.close()
        for _, answer in running + waiting:
            with pytest.raises(NotReady):
                await answer
        with pytest.raises(NotReady):
            ask(scheduler, "c")
        assert [type(result) for result in settled] == [NotReady, NotReady]


async def test_a_list_that_could_not_be_done_by_its_deadline_is_refused() -> None:
    gate = Gate()
    async with scheduling(gate) as scheduler:  # 0.1 ms a token
        ask(scheduler, "a", tokens=10)
        ask(scheduler, *"bcdefghijk", tokens=1000, timeout_s=2)  # a second of work
        with pytest.raises(Overloaded):
            ask(scheduler, *"lmnopqrstu", tokens=1000, timeout_s=1.5)
        assert recorder.refusals == ["deadline"]
        ask(scheduler, "v", timeout_s=1.5)  # a lone text goes ahead of them


async def test_a_short_list_is_not_refused_for_the_length_of_another() -> None:
    gate = Gate()
    async with scheduling(gate, max_batch_size=2, max_wait_ms=60_000) as scheduler:  # 0.1 ms a token
        long = ask(scheduler, *["long"] * 40, tokens=1000, timeout_s=60)  # four seconds of work, two texts a turn
        short = ask(scheduler, *"abcd", tokens=10, timeout_s=2)
        gate.open.set()
        assert await asyncio.gather(*(answer for _, answer in short)) == [*"ABCD"]
        assert not all(answer.done() for _, answer in long)


async def test_a_list_takes_turns_with_others_however_wrong_its_cost_is_known() -> None:
    gate = Gate()
    async with scheduling(gate, max_batch_size=2) as scheduler:
        ask(scheduler, "x")
        ask(scheduler, *(f"list {number}" for number in range(40)))
        await asyncio.sleep(0.2)  # much longer than the cost model thinks that the list takes
        lone = ask(scheduler, "lone")
        gate.open.set()
        assert await lone[0][1] == "LONE"
        assert next(turn for turn, batch in enumerate(gate.batches) if "lone" in batch) <= 2


async def test_lists_share_the_machine() -> None:
    gate = Gate()
    async with scheduling(gate, max_batch_size=2) as scheduler:
        ask(scheduler, "x")
        asked = ask(scheduler, *(f"a{number}" for number in range(10)))
        asked += ask(scheduler, *(f"b{number}" for number in range(10)), tokens=40)
        gate.open.set()
        await asyncio.gather(*(answer for _, answer in asked))
        order = "".join(batch[0][0] for batch in gate.batches[1:])
        assert order == "ab" * 5


async def test_no_job_is_settled_before_its_caller_could_join_it() -> None:
    async with scheduling(upper, slots=2) as scheduler:
        for _ in range(300):
            deadline_s = time.monotonic() + 0.0002
            items: list[WorkItem[str, str]] = [WorkItem(5, text, settled.append) for text in "abc"]
            try:
                scheduler.submit(items, deadline_s)
            except (DeadlineExceeded, Overloaded):
                continue
            assert not any(item.settled for item in items)
            waiters = [scheduler.join(item, deadline_s) for item in items]
            await asyncio.wait(waiters)
            assert [type(waiter.exception() or "") for waiter in waiters]


async def test_a_deadline_that_passes_during_admission_settles_nothing_early(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with scheduling(upper, run_timeout_s=1e9) as scheduler:  # its timer reads the same clock
        for steps in range(12):  # the deadline falls between each two readings of the clock, in turn
            ticks = (100 + count / 1000 for count in range(1000))
            monkeypatch.setattr("app.scheduling.scheduler.time.monotonic", lambda ticks=ticks: next(ticks))
            items: list[WorkItem[str, str]] = [WorkItem(5, text, settled.append) for text in "ab"]
            with contextlib.suppress(DeadlineExceeded, Overloaded):
                scheduler.submit(items, 100 + steps / 1000 - 0.0005)
                assert not any(item.settled for item in items)
            monkeypatch.undo()
            await asyncio.sleep(0.02)


async def test_whoever_joins_a_text_at_the_end_of_a_list_does_not_wait_for_the_list() -> None:
    gate = Gate()
    async with scheduling(gate, max_batch_size=1) as scheduler:
        ask(scheduler, "a")
        items = [item for item, _ in ask(scheduler, *"bcdefgh", tokens=50)]
        answer = scheduler.join(items[-1], time.monotonic() + 5)
        gate.open.set()
        assert await answer == "H"
        assert [batch[0] for batch in gate.batches].index("h") <= 2


async def test_an_observer_that_fails_costs_nobody_an_answer() -> None:
    class Broken(Recorder):
        def batch_finished(self, *_: float) -> None:
            raise ValueError("no metrics today")

    scheduler: Scheduler[str, str] = Scheduler(
        upper, slots=1, limits=SchedulerLimits(), cost=CostModel(), observer=Broken(), on_stall=lambda: None
    )
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    assert await ask(scheduler, "a")[0][1] == "A"
    assert await ask(scheduler, "b")[0][1] == "B"
    scheduler.close()


async def test_without_a_thread_to_run_in_everyone_gets_an_error() -> None:
    async with scheduling(upper) as scheduler:
        scheduler._executor._threads.shutdown()
        with pytest.raises(BackendError, match="could not be run"):
            await ask(scheduler, "a")[0][1]
        assert scheduler.predicted_wait_ms() == 0


async def test_a_slot_that_is_late_does_not_look_free() -> None:
    gate = Gate()
    async with scheduling(gate) as scheduler:
        ask(scheduler, "a")
        await asyncio.sleep(0.1)
        assert scheduler.predicted_wait_ms() > 50


async def test_the_cost_model_learns_from_what_ran_but_not_from_what_failed() -> None:
    def slow(payloads: Sequence[str], *, alone: bool = False) -> list[str | Exception]:
        time.sleep(0.02)
        return [BackendError("no") if payload == "fail" else payload for payload in payloads]

    cost = CostModel(base_ms=0.001, token_ms=0.001)
    scheduler: Scheduler[str, str] = Scheduler(
        slow, slots=1, limits=SchedulerLimits(), cost=cost, observer=Recorder(), on_stall=lambda: None
    )
    with pytest.raises(BackendError):
        await ask(scheduler, "fail")[0][1]
    assert cost.predict(5) < 1
    await ask(scheduler, "a")[0][1]
    assert cost.predict(5) >= 19
    scheduler.close()


async def test_a_list_that_cannot_be_done_in_time_is_given_up_when_that_shows() -> None:
    def slow(payloads: Sequence[str], *, alone: bool = False) -> list[str | Exception]:
        time.sleep(0.02)
        return upper(payloads)

    async with scheduling(slow, slots=2, max_batch_size=1) as scheduler:
        begun_s = time.monotonic()
        asked = ask(scheduler, *(str(number) for number in range(1000)), tokens=100, timeout_s=5)  # of the ten it needs
        scheduler.join(asked[4][0], begun_s + 5)  # the first that could be given up, if nobody else waited for it
        with pytest.raises(DeadlineExceeded, match="more text than the model can score"):
            await asyncio.gather(*(answer for _, answer in asked))
        assert 4 <= len(recorder.finished) < 20
        await asyncio.wait([asked[4][1]], timeout=5)
        assert asked[4][1].result() == "4"


async def test_a_batch_is_alone_after_many_that_never_overlapped() -> None:
    alone: list[bool] = []

    def run(payloads: Sequence[str], **how: bool) -> list[str | Exception]:
        alone.append(how["alone"])
        return [payload.upper() for payload in payloads]

    async with scheduling(run, slots=2) as scheduler:
        for number in range(30):
            await ask(scheduler, str(number))[0][1]
        assert not any(alone[:16])
        assert all(alone[16:])


async def test_batches_that_overlap_are_not_alone() -> None:
    alone: list[bool] = []
    gate = Gate()

    def run(payloads: Sequence[str], **how: bool) -> list[str | Exception]:
        alone.append(how["alone"])
        return gate(payloads) if payloads[0].startswith("held") else [payload.upper() for payload in payloads]

    async with scheduling(run, slots=2) as scheduler:
        for number in range(20):
            await ask(scheduler, str(number))[0][1]
        first, second = ask(scheduler, "held 1"), ask(scheduler, "held 2")
        gate.open.set()
        await asyncio.gather(first[0][1], second[0][1])
        await ask(scheduler, "after")[0][1]
        assert sorted(alone[20:22]) == [False, True]
        assert alone[22] is False
