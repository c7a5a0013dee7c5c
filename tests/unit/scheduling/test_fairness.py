"""Callers share the model by the work of their texts, so that a caller that floods the service delays only itself."""

import asyncio
import itertools
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import Overloaded
from app.scheduling import BatchQueue, CostModel, Elsewhere, Entry, Lane
from app.scheduling.fairness import Caller, Callers
from tests.support.scheduling import LAYOUT, Gate, clock, layout, recorder, scheduling, settled, submit, upper

__all__ = ["layout"]


class Bench:
    """A queue without fixed costs, so that the work of an entry is its tokens."""

    def __init__(self, max_batch_size: int = 1) -> None:
        self.queue: BatchQueue[Entry] = BatchQueue(
            CostModel(base_ms=0.0, token_ms=0.1), max_batch_size=max_batch_size, max_batch_tokens=512
        )
        self.callers = self.queue.callers
        self.lane = Lane(upper, **LAYOUT)

    def push(self, name: str, tokens: int, *, due: bool = True) -> Entry:
        entry = Entry(tokens, 0.0 if due else math.inf, self.lane)
        entry.caller = self.callers.find(name)
        self.queue.push(entry)
        return entry

    def order(self) -> str:
        """Take everything, and return the names of the callers in order."""
        names = ""
        while batch := self.queue.take():
            names += "".join(entry.caller.name for entry in batch if entry.caller)
        return names

    def ahead(self, name: str, work: int) -> int:
        return self.callers.ahead(self.callers.find(name), work)


class TestOrder:
    def test_the_entries_of_one_caller_run_in_the_order_of_their_arrival(self) -> None:
        bench = Bench()
        entries = [bench.push("a", tokens) for tokens in (90, 5, 40, 5)]
        assert [bench.queue.take() for _ in entries] == [[entry] for entry in entries]

    def test_callers_share_by_work_and_not_by_texts(self) -> None:
        bench = Bench()
        for _ in range(3):
            bench.push("a", 40)
        for _ in range(12):
            bench.push("b", 10)
        assert bench.order() == "bbb" + "abbbb" * 2 + "ab"

    def test_a_new_caller_goes_ahead_of_the_backlog_of_others(self) -> None:
        bench = Bench()
        for _ in range(20):
            bench.push("f", 400)
        bench.queue.take()
        bench.push("g", 10)
        assert bench.order()[0] == "g"

    def test_a_caller_that_returns_early_has_not_lost_what_it_used(self) -> None:
        callers = Callers()
        callers.now, caller = 100, callers.find("g")
        callers.charge(caller, 250)
        callers.add(caller, 250)
        callers.remove(caller, 250)
        assert callers.next_end(callers.find("g"), 1) == 351
        assert callers.next_end(callers.find("h"), 1) == 101

    def test_an_entry_that_leaves_costs_its_caller_nothing(self) -> None:
        bench = Bench()
        bench.push("f", 100)
        for entry in [bench.push("g", 400) for _ in range(5)]:
            bench.queue.discard(entry)
        bench.push("g", 10)
        assert bench.order() == "gf"

    def test_an_entry_that_was_not_due_costs_as_much_as_others(self) -> None:
        bench = Bench()
        bench.push("f", 300, due=False)
        bench.queue.take()
        assert bench.callers.find("f").end == 300

    def test_an_entry_that_another_caller_joins_runs_in_its_turn(self) -> None:
        bench = Bench()
        backlog = [bench.push("f", 100) for _ in range(9)]
        bench.queue.hasten(backlog[-1], bench.callers.find("g"))
        bench.queue.take()
        bench.queue.take()
        assert not backlog[-1].queued
        assert bench.callers.find("f").work == 700

    def test_joining_never_makes_an_entry_later(self) -> None:
        bench = Bench()
        entry = bench.push("g", 10)
        for _ in range(5):
            bench.push("f", 100)
        bench.queue.hasten(entry, bench.callers.find("f"))
        assert bench.order()[0] == "g"


class TestCallers:
    def test_the_work_of_others_counts_up_to_that_of_the_caller(self) -> None:
        bench = Bench()
        for name, tokens in (("a", 500), ("b", 30), ("c", 7)):
            bench.push(name, tokens)
        assert bench.ahead("new", 10) == 10 + 10 + 7
        assert bench.ahead("new", 1000) == 537
        bench.push("d", 90)
        assert bench.ahead("d", 10) == 100 + 30 + 7

    @given(st.lists(st.lists(st.integers(1, 512), min_size=1, max_size=8), max_size=12), st.integers(1, 2000))
    def test_the_estimate_is_exact_within_a_factor_of_two(self, backlogs: list[list[int]], work: int) -> None:
        bench = Bench()
        for name, tokens in enumerate(backlogs):
            for each in tokens:
                bench.push(str(name), each)
        exact = sum(min(sum(tokens), work) for tokens in backlogs)
        assert exact <= bench.ahead("new", work) <= 2 * exact

    def test_a_caller_has_its_share_if_no_other_has_less(self) -> None:
        bench = Bench()
        bench.push("a", 100)
        assert bench.callers.has_its_share(bench.callers.find("a"))
        bench.push("b", 10)
        assert not bench.callers.has_its_share(bench.callers.find("a"))
        assert bench.callers.has_its_share(bench.callers.find("b"))
        assert bench.callers.has_its_share(bench.callers.find("new"))

    def test_callers_without_entries_are_forgotten(self) -> None:
        bench = Bench()
        bench.push("waits", 10**6)
        for number in range(5000):
            bench.push(str(number), 10)
            bench.queue.take()
        assert len(bench.callers) == 1
        assert len(bench.callers._idle) <= 1024
        bench.order()
        assert len(bench.callers._idle) == 0

    @given(st.integers(0, 2**32))
    def test_the_counts_are_right_whatever_happens(self, seed: int) -> None:
        rng, bench = random.Random(seed), Bench(max_batch_size=4)
        queued: list[Entry] = []
        for _ in range(200):
            action = rng.random()
            if action < 0.5 or not queued:
                queued.append(bench.push(rng.choice("abcd"), rng.randint(1, 99), due=rng.random() < 0.7))
            elif action < 0.7:
                bench.queue.discard(rng.choice(queued))
            elif action < 0.85:
                bench.queue.hasten(rng.choice(queued), bench.callers.find(rng.choice("abcd")))
            else:
                bench.queue.take()
            queued = [entry for entry in queued if entry.queued]
            work = {name: sum(e.work for e in queued if e.caller and e.caller.name == name) for name in "abcd"}
            assert {name: bench.callers.find(name).work for name in work} == work
            assert bench.callers._work == sum(work.values())
            assert sum(each for _, each in bench.callers._levels.values()) == sum(work.values())
            assert len(bench.callers) == sum(map(bool, work.values()))
            assert all(entry.due >= bench.callers.now for entry in queued)

    def test_an_unknown_caller_is_kept_only_while_it_has_entries(self) -> None:
        callers = Callers()
        assert "a" not in callers
        assert isinstance(callers.find("a"), Caller)
        assert len(callers) == 0


def turns(gate: Gate) -> list[str]:
    """Return whose texts each batch had, by their first letters."""
    return ["".join(sorted({text[0] for text in batch})) for batch in gate.batches]


async def test_one_callers_flood_does_not_hold_up_another() -> None:
    gate = Gate()
    async with scheduling(gate, max_batch_size=2) as scheduler:
        requests = [submit(scheduler, "x")]
        requests += [submit(scheduler, f"f{number}", caller="flood") for number in range(40)]
        late = submit(scheduler, "g0", tokens=9, caller="guest")
        gate.open.set()
        assert await late.results() == ["G0"]
        assert next(turn for turn, callers in enumerate(turns(gate)) if "g" in callers) <= 2
        await asyncio.gather(*(request.results() for request in requests))


async def test_two_floods_share_the_machine() -> None:
    gate = Gate()
    async with scheduling(gate, max_batch_size=2) as scheduler:
        requests = [submit(scheduler, "x")]
        requests += [submit(scheduler, f"a{number}", tokens=40, caller="a") for number in range(20)]
        requests += [submit(scheduler, f"b{number}", tokens=40, caller="b") for number in range(20)]
        gate.open.set()
        await asyncio.gather(*(request.results() for request in requests))
        assert turns(gate)[1:] == ["ab"] * 20


async def test_lists_of_a_caller_share_its_turns_with_its_single_texts() -> None:
    gate = Gate()
    async with scheduling(gate, max_batch_size=2) as scheduler:
        requests = [submit(scheduler, "x")]
        requests.append(submit(scheduler, *(f"a{number}" for number in range(20)), tokens=40, caller="a"))
        requests.append(submit(scheduler, *(f"b{number}" for number in range(20)), tokens=40, caller="b"))
        requests.append(submit(scheduler, "a single", tokens=40, caller="a"))
        gate.open.set()
        await asyncio.gather(*(request.results() for request in requests))
        assert turns(gate)[1:] == ["ab"] * 20 + ["a"]
        assert len(settled) == 42
        assert next(turn for turn, batch in enumerate(gate.batches) if "a single" in batch) <= 5


async def test_a_flood_is_refused_for_its_own_backlog_and_others_are_not() -> None:
    gate = Gate()
    async with scheduling(gate, max_batch_size=2) as scheduler:
        submit(scheduler, "x")
        refused: list[float] = []
        for number in range(1000):
            try:
                submit(scheduler, f"f{number}", tokens=5000, caller="flood")
            except Overloaded as error:
                refused.append(error.retry_after_s)
        assert min(refused) > 4
        assert recorder.refusals == ["wait"] * len(refused)
        assert scheduler.depth < 20
        submit(scheduler, "g", timeout_s=2, caller="guest")


async def test_a_flood_of_tiny_texts_leaves_room_in_the_queue() -> None:
    gate = Gate()
    async with scheduling(gate, max_queue_texts=50) as scheduler:
        submit(scheduler, "x")
        submit(scheduler, *(f"f{number}" for number in range(50)), tokens=1, caller="flood")
        for caller in ("flood", "flood", "guest"):
            if caller == "flood":
                with pytest.raises(Overloaded, match="full"):
                    submit(scheduler, "more", caller=caller)
            else:
                submit(scheduler, *"ghi", caller=caller)
        assert recorder.refusals == ["full", "full"]


async def test_callers_whose_texts_are_on_their_way_share_the_queue_too() -> None:
    gate = Gate()
    async with scheduling(gate, max_queue_texts=50) as scheduler:
        submit(scheduler, "x")
        names = [f"c{number}" for number in range(50)]
        elsewhere = Elsewhere(50, 0, names)
        deadline_s = clock.now_s + 10
        scheduler.admit(1, deadline_s, "c0", elsewhere=elsewhere)  # a fiftieth part
        with pytest.raises(Overloaded, match="full"):
            scheduler.admit(2, deadline_s, "c0", elsewhere=elsewhere)


async def test_a_flood_does_not_change_what_others_may_wait() -> None:
    gate = Gate()
    async with scheduling(gate) as scheduler:
        submit(scheduler, "x")
        flood = [submit(scheduler, f"f{number}", tokens=500, caller="flood") for number in range(10)]
        submit(scheduler, "g", caller="guest")
        flood += [submit(scheduler, f"f{number}", tokens=500, caller="flood") for number in range(20, 30)]
        before = scheduler._admission.spread
        assert all(request.items[0].predicted.ms == 0 for request in flood[10:])
        assert scheduler._admission.spread == before


async def test_a_text_that_another_caller_joins_does_not_wait_for_a_flood() -> None:
    gate = Gate()
    async with scheduling(gate, max_batch_size=1) as scheduler:
        submit(scheduler, "x")
        flood = [submit(scheduler, f"f{number}", tokens=50, caller="flood") for number in range(20)]
        joined = scheduler.join(flood[-1].items[0], flood[-1].items[0].deadline_s, "guest")
        gate.open.set()
        assert await joined == "F19"
        assert [batch[0] for batch in gate.batches].index("f19") <= 3


async def test_a_flood_that_joins_a_list_does_not_hold_it_up() -> None:
    gate = Gate()
    async with scheduling(gate, max_batch_size=1) as scheduler:
        submit(scheduler, "x")
        for number in range(20):
            submit(scheduler, f"f{number}", tokens=50, caller="flood")
        listed = submit(scheduler, *(f"g{number}" for number in range(5)), tokens=5, caller="guest")
        for item in listed.items[1:]:
            scheduler.join(item, item.deadline_s, "flood")
        gate.open.set()
        assert len(await listed.results()) == 5
        names = [batch[0] for batch in gate.batches]
        assert names.index("g4") <= 8


async def test_turns_go_on_when_texts_leave() -> None:
    gate = Gate()
    async with scheduling(gate, max_batch_size=1) as scheduler:
        submit(scheduler, "x")
        requests = [submit(scheduler, f"a{number}", caller="a") for number in range(4)]
        for request in requests[:2]:
            request.futures[0].cancel()
            scheduler.leave(request.items[0])
        items = itertools.chain.from_iterable(request.items for request in requests[2:])
        assert all(item.due < math.inf for item in items)
        gate.open.set()
        assert [await request.results() for request in requests[2:]] == [["A2"], ["A3"]]


async def test_a_list_of_a_caller_does_not_get_its_single_texts_refused() -> None:
    gate = Gate()
    async with scheduling(gate) as scheduler:  # 0.1 ms per token: four seconds of work
        submit(scheduler, *(f"a{number}" for number in range(40)), tokens=1000, caller="a")
        single = submit(scheduler, "single", caller="a")
        gate.open.set()
        assert await single.results() == ["SINGLE"]
        assert next(turn for turn, batch in enumerate(gate.batches) if "single" in batch) <= 2
