"""Several models in one queue: a batch has texts of one, and what a text costs depends on its model."""

import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.scheduling import BatchQueue, CostModel, Entry, Lane
from app.scheduling.entry import cost_of
from tests.support.scheduling import Gate, clock, layout, new_items, scheduling, upper, use_lane

__all__ = ["layout"]


def lane(weight: float = 1.0, *, skips_padding: bool = True) -> Lane:
    return Lane(upper, skips_padding, weight)


def queue(size: int = 16) -> BatchQueue[Entry]:
    return BatchQueue(CostModel(base_ms=1, token_ms=0.1), max_batch_size=size, max_batch_tokens=512)


def push(queue: BatchQueue[Entry], lane: Lane, tokens: int = 5, *, due: float = 0.0, caller: str = "") -> Entry:
    entry = Entry(tokens, due, lane)
    if caller:
        entry.caller = queue.callers.find(caller)
    queue.push(entry)
    return entry


class TestBatches:
    @given(st.integers(0, 2**32), st.booleans())
    def test_a_batch_has_texts_of_one_model_and_none_is_lost(self, seed: int, skips_padding: bool) -> None:
        rng = random.Random(seed)
        waiting, entries = queue(rng.choice([1, 3, 16])), []
        lanes = [lane(rng.choice([0.25, 1, 4]), skips_padding=skips_padding) for _ in range(3)]
        for _ in range(60):
            caller = rng.choice(["", "a", "b"])
            entries.append(push(waiting, rng.choice(lanes), rng.choice([1, 5, 6, 30]), due=len(entries), caller=caller))
        gone = {id(entry) for entry in rng.sample(entries, 10)}
        for entry in entries:
            if id(entry) in gone:
                waiting.discard(entry)
        run: list[Entry] = []
        while batch := waiting.take(rng.randrange(1, 4), rng.uniform(0, 20)):
            assert len({id(entry.lane) for entry in batch}) == 1
            run += batch
        assert {id(entry) for entry in run} == {id(entry) for entry in entries} - gone
        assert len(run) == 50
        assert (len(waiting), waiting.backlog_ms()) == (0, 0.0)
        assert [each.depth for each in lanes] == [0, 0, 0]

    def test_the_text_that_is_due_first_decides_which_model_runs(self) -> None:
        waiting, one, two = queue(), lane(), lane()
        late, first, same = push(waiting, one, due=3), push(waiting, two, due=1), push(waiting, two, due=2)
        assert waiting.take() == [first, same]
        assert waiting.take() == [late]

    def test_models_that_pad_and_that_do_not_wait_in_one_queue(self) -> None:
        waiting, pads, skips = queue(), lane(skips_padding=False), lane()
        padded, other, mixed = push(waiting, pads, 5), push(waiting, pads, 200), push(waiting, skips, 200)
        assert [waiting.take(), waiting.take(), waiting.take()] == [[padded], [other], [mixed]]


class TestForgetting:
    @pytest.mark.parametrize("skips_padding", [True, False])
    def test_a_lane_without_entries_is_forgotten(self, skips_padding: bool) -> None:
        waiting, one, two = queue(), lane(skips_padding=skips_padding), lane(skips_padding=skips_padding)
        push(waiting, one)
        push(waiting, two, due=1)
        waiting.take()
        assert [*waiting._lanes] == [one, two]
        waiting.take()
        assert [*waiting._lanes] == [two]
        assert waiting.take() == []
        assert [*waiting._lanes] == []

    def test_a_lane_whose_entries_were_all_discarded_is_forgotten(self) -> None:
        waiting, one = queue(), lane(skips_padding=False)
        for tokens in (3, 4):
            waiting.discard(push(waiting, one, tokens))
        assert waiting.take() == []
        assert [*waiting._lanes] == []
        assert one.by_length == {}

    def test_a_lane_that_was_forgotten_can_have_entries_again(self) -> None:
        waiting, one = queue(), lane()
        push(waiting, one)
        waiting.take()
        waiting.take()
        again = push(waiting, one)
        assert waiting.take() == [again]


class TestWeights:
    def test_a_text_costs_its_tokens_times_the_weight_and_at_least_one(self) -> None:
        assert lane(1).cost_of(10) == 10
        assert lane(2.5).cost_of(10) == 25
        assert lane(1 / 64).cost_of(10) == 1
        assert cost_of([Entry(10, 0.0, each) for each in [lane(3)] * 2]) == 60
        assert (
            cost_of([Entry(length, 0.0, each) for each in [lane(3, skips_padding=False)] for length in (4, 10)]) == 60
        )

    @pytest.mark.parametrize(("weight", "ms"), [(1.0, 2.0), (3.0, 4.0), (0.5, 1.5)])
    def test_the_backlog_counts_what_a_text_costs_in_its_model(self, weight: float, ms: float) -> None:
        waiting = queue()
        push(waiting, lane(weight), 10)
        assert waiting.backlog_ms() == pytest.approx(ms)  # 1 ms for the batch, 0.1 ms for each of the tokens
        assert waiting.batch_ms() == pytest.approx(ms)

    def test_a_caller_of_an_expensive_model_gets_fewer_texts_run(self) -> None:
        waiting, cheap, expensive = queue(size=1), lane(1), lane(4)
        for _ in range(40):
            push(waiting, cheap, 100, caller="cheap")
            push(waiting, expensive, 100, caller="expensive")
        names = [waiting.take()[0].caller for _ in range(30)]
        counts = {
            name: sum(each is not None and each.name == name for each in names) for name in ("cheap", "expensive")
        }
        assert 3 <= counts["cheap"] / counts["expensive"] <= 5

    def test_the_wait_of_a_caller_counts_the_work_of_others_by_their_model(self) -> None:
        waits = []
        for weight in (1, 4):
            waiting = queue()
            push(waiting, lane(weight), 100, caller="other")
            waits.append(waiting.wait_ms(waiting.callers.find("me"), 1000))
        assert waits[1] - waits[0] == pytest.approx(0.1 * 300)


class TestScheduler:
    async def test_each_model_runs_its_own_texts(self) -> None:
        gate = Gate()
        async with scheduling(gate, max_batch_size=8) as scheduler:
            first, second = use_lane(gate), use_lane(lambda payloads, **_: [each[::-1] for each in payloads])
            deadline_s = clock.monotonic() + 10
            groups = [
                new_items("ab", "cd", lane=first),
                new_items("ef", "gh", lane=second),
                new_items("ij", lane=first),
            ]
            for items in groups:
                scheduler.submit(items, deadline_s)
            futures = [scheduler.join(item, deadline_s) for items in groups for item in items]
            gate.open.set()
            assert await asyncio.gather(*futures) == ["AB", "CD", "fe", "hg", "IJ"]
            assert all("ef" not in batch and "gh" not in batch for batch in gate.batches)

    async def test_what_an_expensive_model_costs_is_learned_for_all(self) -> None:
        async with scheduling(upper) as scheduler:
            wait = scheduler._cost.predict(100)
            expensive = use_lane(upper, weight=10.0)
            items = new_items("a", tokens=10, lane=expensive)
            scheduler.submit(items, clock.monotonic() + 10)
            assert next(iter(scheduler._slots._running)).end_s - clock.now_s == pytest.approx(wait / 1000, abs=1e-3)
            await scheduler.join(items[0], clock.monotonic() + 10)
