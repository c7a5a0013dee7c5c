"""A model in parts: a text whose result is not final goes on with it in the next lane, before all that is new."""

import asyncio
import math
import random
import threading
from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import BackendError, DeadlineExceeded, Overloaded
from app.scheduling import BatchQueue, CostModel, Entry, Lane, WorkItem
from app.scheduling.entry import FIRST
from tests.support.scheduling import LANES, LAYOUT, clock, layout, recorder, scheduling, settled, submit, upper
from tests.support.waiting import HANG_S, async_until

__all__ = ["layout"]


class Half(str):
    """What the first part makes of a text that has to go on."""


class Parts:
    """Two parts. Texts with a `?` go on; a run of a part whose gate is shut waits."""

    def __init__(self, *, first_open: bool = True, second_open: bool = True) -> None:
        self.runs: list[tuple[int, list[str]]] = []
        self.threads: set[int] = set()
        self.gates = (threading.Event(), threading.Event())
        for gate, is_open in zip(self.gates, (first_open, second_open), strict=True):
            if is_open:
                gate.set()

    def lane(self) -> Lane:
        second = Lane(partial(self._run, 1), weight=0.5, **LAYOUT)
        LANES.append(Lane(partial(self._run, 0), next=second, unfinished=Half, **LAYOUT))
        return LANES[-1]

    def _run(self, part: int, payloads: Sequence[str], *, alone: bool = False) -> list[str | Exception]:
        self.runs.append((part, [str(payload) for payload in payloads]))
        self.threads.add(threading.get_ident())
        assert self.gates[part].wait(HANG_S)
        assert all(isinstance(payload, Half) == (part == 1) for payload in payloads)
        if part == 1 and "bad?" in payloads:
            return [BackendError("bad") if payload == "bad?" else f"{payload}!" for payload in payloads]
        return [Half(payload) if part == 0 and "?" in payload else f"{payload}!" for payload in payloads]


class TestScheduler:
    async def test_each_text_gets_its_result_from_the_part_that_has_it(self) -> None:
        parts = Parts()
        async with scheduling(upper) as scheduler:
            parts.lane()
            request = submit(scheduler, "a", "b?", "c", "d?")
            assert await request.results() == ["a!", "b?!", "c!", "d?!"]
        assert parts.runs == [(0, ["a", "b?", "c", "d?"]), (1, ["b?", "d?"])]
        assert recorder.finished[0] == (4, 20)
        assert sorted(settled, key=str) == ["a!", "b?!", "c!", "d?!"]

    async def test_texts_that_are_done_do_not_wait_for_those_that_go_on(self) -> None:
        parts = Parts(second_open=False)
        async with scheduling(upper) as scheduler:
            parts.lane()
            sure, unsure = submit(scheduler, "a").futures[0], submit(scheduler, "b?", "c").futures
            assert await sure == "a!"
            assert await unsure[1] == "c!"
            assert not unsure[0].done()
            parts.gates[1].set()
            assert await unsure[0] == "b?!"

    async def test_a_lone_text_goes_on_in_the_same_thread(self) -> None:
        parts = Parts()
        async with scheduling(upper, slots=2) as scheduler:
            parts.lane()
            assert await submit(scheduler, "a?").results() == ["a?!"]
        assert parts.runs == [(0, ["a?"]), (1, ["a?"])]
        assert len(parts.threads) == 1
        assert len(recorder.finished) == 1

    async def test_texts_go_on_before_new_ones(self) -> None:
        parts = Parts()
        async with scheduling(upper, max_batch_size=2) as scheduler:
            parts.lane()
            await submit(scheduler, "a", "b?", "c?", "d", "e?", "f?").results()
        assert [part for part, _ in parts.runs] == [0, 1, 0, 1, 0, 1]

    @pytest.mark.parametrize("slots", [1, 2])
    async def test_no_more_texts_wait_to_go_on_than_run_at_once(self, slots: int) -> None:
        parts = Parts()
        depths = []
        async with scheduling(upper, slots=slots, max_batch_size=4) as scheduler:
            lane, push = parts.lane(), scheduler._queue.push

            def count(item: WorkItem[str, str]) -> None:
                push(item)
                depths.append(lane.next.depth if lane.next else 0)

            scheduler._queue.push = count  # type: ignore[method-assign]
            requests = [submit(scheduler, *(f"{number}.{place}?" for place in range(7))) for number in range(20)]
            for request in requests:
                await request.results()
        assert 0 < max(depths) <= 4 * slots

    async def test_a_text_that_nobody_waits_for_does_not_go_on(self) -> None:
        parts = Parts(first_open=False)
        async with scheduling(upper) as scheduler:
            parts.lane()
            left, stays = submit(scheduler, "a?", "b?").futures
            await async_until(lambda: len(parts.runs) == 1)
            left.cancel()
            parts.gates[0].set()
            assert await stays == "b?!"
        assert parts.runs[1:] == [(1, ["b?"])]
        assert settled == [None, "b?!"]

    async def test_a_text_leaves_while_it_waits_to_go_on(self) -> None:
        parts = Parts(second_open=False)
        async with scheduling(upper, max_batch_size=2) as scheduler:
            parts.lane()
            blocker = submit(scheduler, "a?", "b?")
            await async_until(lambda: len(parts.runs) == 2)
            waits = submit(scheduler, "c", "d?")
            waits.futures[1].cancel()
            scheduler.leave(waits.items[1])
            parts.gates[1].set()
            assert [*await blocker.results(), await waits.futures[0]] == ["a?!", "b?!", "c!"]
            assert scheduler.depth == 0
        assert all("d?" not in texts for part, texts in parts.runs if part == 1)

    async def test_a_text_that_would_be_late_does_not_go_on(self) -> None:
        parts = Parts(first_open=False)
        async with scheduling(upper) as scheduler:
            parts.lane()
            late, stays = submit(scheduler, "a?", timeout_s=1), None
            await async_until(lambda: len(parts.runs) == 1)
            stays = submit(scheduler, "b?")
            clock.advance(2)
            parts.gates[0].set()
            assert await stays.results() == ["b?!"]
            # A lone text is not stopped in between; one that was queued is.
            assert await late.results() == ["a?!"]

    async def test_a_queued_text_that_would_be_late_does_not_go_on(self) -> None:
        parts = Parts(first_open=False)
        async with scheduling(upper) as scheduler:
            parts.lane()
            late = submit(scheduler, "a?", "b?", timeout_s=1)
            await async_until(lambda: len(parts.runs) == 1)
            clock.advance(2)
            parts.gates[0].set()
            for future in late.futures:
                with pytest.raises(DeadlineExceeded):
                    await future
        assert [part for part, _ in parts.runs] == [0]

    async def test_texts_at_their_limit_say_nothing_about_how_many_go_on(self) -> None:
        parts = Parts()
        async with scheduling(upper) as scheduler:
            lane = parts.lane()
            lane.going_on = 0.8
            for number in range(50):
                await submit(scheduler, *(f"{number}.{place}" for place in range(4)), most_lanes=1).results()
            assert lane.going_on == 0.8
            await submit(scheduler, "a", "b").results()
            assert lane.going_on < 0.8

    async def test_a_shallow_list_needs_less_time(self) -> None:
        parts = Parts(first_open=False)
        async with scheduling(upper, max_batch_size=4) as scheduler:
            lane = parts.lane()
            assert lane.next
            lane.going_on, lane.next.weight = 1.0, 5.0
            blocker = submit(scheduler, "x")
            texts = [f"{number}" for number in range(100)]  # 0.08 s through the first part alone, 0.33 s through both
            with pytest.raises(Overloaded):
                submit(scheduler, *texts, timeout_s=0.2)
            shallow = submit(scheduler, *texts, timeout_s=0.2, most_lanes=1)
            parts.gates[0].set()
            await blocker.results()
            assert len(await shallow.results()) == 100

    async def test_the_predicted_end_of_a_lone_text_has_all_of_its_parts(self) -> None:
        parts = Parts(first_open=False)
        async with scheduling(upper) as scheduler:
            lane = parts.lane()
            lane.going_on = 1.0
            request = submit(scheduler, "aaaaaaaaaa?")
            # 1 ms, and 0.1 ms for each token of both parts
            tokens = request.items[0].tokens
            assert scheduler.predicted_wait_ms() == pytest.approx(1 + 0.1 * 1.5 * tokens, abs=0.1)
            parts.gates[0].set()
            await request.results()

    async def test_a_text_that_fails_later_fails_alone(self) -> None:
        parts = Parts()
        async with scheduling(upper) as scheduler:
            parts.lane()
            good, bad, sure = submit(scheduler, "good?", "bad?", "sure").futures
            assert [await good, await sure] == ["good?!", "sure!"]
            with pytest.raises(BackendError, match="bad"):
                await bad

    async def test_a_caller_that_was_forgotten_meanwhile_goes_on(self) -> None:
        parts = Parts(first_open=False)
        async with scheduling(upper) as scheduler:
            parts.lane()
            first = submit(scheduler, "a?", "b?", caller="me")
            await async_until(lambda: len(parts.runs) == 1)
            scheduler._queue.callers.forget_idle()
            second = submit(scheduler, "c?", "d?", caller="me")
            parts.gates[0].set()
            assert [*await first.results(), *await second.results()] == ["a?!", "b?!", "c?!", "d?!"]
            assert len(scheduler._queue.callers) == 0

    async def test_a_scheduler_that_closes_fails_what_goes_on(self) -> None:
        parts = Parts(second_open=False)
        async with scheduling(upper) as scheduler:
            parts.lane()
            request = submit(scheduler, "a?", "b?")
            await async_until(lambda: len(parts.runs) == 2)
            scheduler.close()
            outcomes = await asyncio.gather(*request.futures, return_exceptions=True)
            assert [str(each) for each in outcomes] == ["the server is shutting down"] * 2
            parts.gates[1].set()

    @pytest.mark.parametrize("slots", [1, 3])
    async def test_every_text_of_any_load_gets_its_own_result(self, slots: int) -> None:
        rng = random.Random(slots)
        parts = Parts()
        async with scheduling(upper, slots=slots, max_batch_size=4) as scheduler:
            parts.lane()
            requests = []
            for number in range(200):
                texts = [f"{number}.{place}{'?' * rng.randrange(2)}" for place in range(rng.choice([1, 1, 3, 9]))]
                requests.append(
                    (texts, submit(scheduler, *texts, tokens=rng.choice([1, 5, 30]), caller=rng.choice("ab")))
                )
                if not number % 7:
                    await asyncio.sleep(0)
            for texts, request in requests:
                assert await request.results() == [f"{text}!" for text in texts]
            assert scheduler.depth == 0
        assert len(settled) == sum(len(texts) for texts, _ in requests)


def queue(size: int = 16) -> BatchQueue[Entry]:
    return BatchQueue(CostModel(base_ms=1, token_ms=0.1), max_batch_size=size, max_batch_tokens=512)


def lanes() -> tuple[Lane, Lane]:
    second = Lane(upper, weight=0.5, **LAYOUT)
    return Lane(upper, next=second, unfinished=Half, **LAYOUT), second


class TestQueue:
    def test_what_goes_on_runs_before_all_others(self) -> None:
        waiting, (first, second) = queue(), lanes()
        new, going_on = Entry(5, 0.0, first), Entry(5, FIRST, second)
        new.caller = waiting.callers.find("a")
        going_on.caller = waiting.callers.find("b")
        waiting.push(new)
        waiting.push(going_on)
        assert [waiting.take(), waiting.take(), waiting.take()] == [[going_on], [new], []]

    def test_a_caller_is_charged_for_each_part(self) -> None:
        waiting, (_, second) = queue(), lanes()
        a, b = waiting.callers.find("a"), waiting.callers.find("b")
        entry = Entry(100, FIRST, second)
        entry.caller = a
        waiting.push(entry)
        assert (entry.due, a.end > b.end) == (FIRST, True)
        assert [entry] == waiting.take()

    def test_the_backlog_includes_what_is_expected_to_go_on(self) -> None:
        waiting, (first, _) = queue(), lanes()
        first.going_on = 0.4
        waiting.push(Entry(100, 0.0, first))
        assert waiting.backlog_ms() == pytest.approx(1 + 0.1 * (100 + 0.4 * 50))

    def test_a_joined_text_that_goes_on_stays_first(self) -> None:
        waiting, (_, second) = queue(), lanes()
        entry = Entry(5, FIRST, second)
        waiting.push(entry)
        waiting.hasten(entry, waiting.callers.find("b"))
        assert (entry.due, entry.caller) == (FIRST, None)

    def test_an_earlier_place_in_the_queue_does_not_count(self) -> None:
        waiting, (first, second) = queue(), lanes()
        entry, other = Entry(5, math.inf, first), Entry(5, math.inf, first)
        waiting.push(entry)
        waiting.push(other)
        waiting.hasten(entry, waiting.callers.find("a"))  # leaves its old place behind
        waiting.discard(other)
        assert waiting.take() == [entry]
        entry.lane, entry.due = second, FIRST
        waiting.push(entry)
        assert waiting.take() == [entry]
        assert (waiting.take(), len(waiting), first.depth, second.depth) == ([], 0, 0, 0)


class TestShare:
    def test_the_share_that_goes_on_follows_what_was_seen(self) -> None:
        lane, _ = lanes()
        for _ in range(400):
            lane.observe(100, 30)
        assert lane.going_on == pytest.approx(0.3, abs=0.01)
        for _ in range(400):
            lane.observe(100, 100)
        assert lane.going_on == pytest.approx(1, abs=0.01)

    def test_a_large_batch_counts_like_as_many_small_ones(self) -> None:
        one, many = lanes()[0], lanes()[0]
        one.observe(1000, 1000)
        for _ in range(100):
            many.observe(10, 10)
        assert one.going_on == pytest.approx(many.going_on, abs=0.02)

    @given(st.lists(st.tuples(st.integers(1, 10_000), st.floats(0, 1)), max_size=50))
    def test_the_share_is_always_one(self, batches: list[tuple[int, float]]) -> None:
        lane, _ = lanes()
        for tokens, share in batches:
            lane.observe(tokens, round(tokens * share))
            assert 0 <= lane.going_on <= 1

    def test_a_model_without_parts_has_none(self) -> None:
        lane: Any = Lane(upper)
        lane.observe(100, 0)
        assert lane.expected_cost(100) == lane.cost_of(100) == 100
        assert lane.after("anything") is None


def test_an_item_keeps_the_time_at_which_it_first_started() -> None:
    item: WorkItem[str, str] = WorkItem(5, "a", settled.append, lanes()[0])
    item.started_s, item.due = 7.0, math.inf
    item.go_on("a?", lanes()[1], 9.0)
    assert (item.started_s, item.arrived_s, item.due, item.payload) == (7.0, 9.0, FIRST, "a?")


class TestCharges:
    """A caller pays for the parts that run, each once, and for nothing else."""

    @staticmethod
    def queue(going_on: float) -> tuple[BatchQueue[Entry], Lane]:
        second = Lane(upper, skips_padding=True)
        first = Lane(upper, skips_padding=True, next=second, unfinished=str)
        first.going_on = going_on
        return BatchQueue(CostModel(base_ms=0.0, token_ms=0.1), max_batch_size=8, max_batch_tokens=512), first

    @pytest.mark.parametrize("going_on", [0.0, 0.3, 1.0])
    @pytest.mark.parametrize(("parts", "charged"), [(1, 100), (2, 200)])
    def test_it_is_charged_for_what_runs(self, going_on: float, parts: int, charged: int) -> None:
        queue, lane = self.queue(going_on)
        entry = Entry(100, 0.0, lane)
        entry.caller = caller = queue.callers.find("me")
        queue.push(entry)
        assert queue.take() == [entry]
        if parts == 2:
            assert lane.next
            entry.lane, entry.due = lane.next, FIRST
            queue.push(entry)
            assert queue.take() == [entry]
        queue.end(entry)
        assert caller.end == charged

    @pytest.mark.parametrize("goes_on", [False, True])
    def test_it_gets_back_what_does_not_run(self, goes_on: bool) -> None:
        queue, lane = self.queue(0.5)
        entry = Entry(100, 0.0, lane)
        entry.caller = caller = queue.callers.find("me")
        queue.push(entry)
        if goes_on:
            assert lane.next
            queue.take()
            entry.lane, entry.due = lane.next, FIRST
            queue.push(entry)
        queue.discard(entry)
        queue.end(entry)
        assert caller.end == 100 * goes_on
