"""Which entries form the next batch, and how much work is ahead of a new one."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.scheduling import BatchQueue, Lane
from app.scheduling import Entry as LaneEntry
from app.scheduling.cost import CostModel
from app.scheduling.entry import tokens_of
from app.scheduling.fairness import Caller
from tests.support.scheduling import upper


class Entry(LaneEntry):
    """Of the lane of the last `queue_of`, unless it has another."""

    def __init__(self, tokens: int, due: float, lane: Lane | None = None) -> None:
        super().__init__(tokens, due, lane or lanes[-1])


lanes = [Lane(upper)]


def queue_of(
    entries: list[Entry],
    cost: CostModel | None = None,
    size: int = 16,
    tokens: int = 8192,
    *,
    skips_padding: bool = False,
) -> BatchQueue:
    queue: BatchQueue = BatchQueue(
        cost or CostModel(base_ms=1, token_ms=0.1),
        max_batch_size=size,
        max_batch_tokens=tokens,
    )
    lanes.append(Lane(upper, skips_padding=skips_padding))
    for entry in entries:
        entry.lane = lanes[-1]
        queue.push(entry)
    return queue


class TestTake:
    def test_an_empty_queue_gives_an_empty_batch(self) -> None:
        assert queue_of([]).take() == []

    def test_texts_of_one_length_share_a_batch_up_to_its_size(self) -> None:
        entries = [Entry(20, due) for due in range(5)]
        queue = queue_of(entries, size=3)
        assert queue.take() == entries[:3]
        assert queue.take() == entries[3:]
        assert len(queue) == 0

    def test_the_nearest_lengths_join_the_entry_that_is_due_longest(self) -> None:
        far, anchor, near, same = Entry(24, 1), Entry(20, 0), Entry(21, 3), Entry(20, 2)
        assert queue_of([far, anchor, near, same], size=3).take() == [anchor, same, near]

    def test_a_length_whose_padding_costs_over_half_a_run_does_not_join(self) -> None:
        # 0.1 ms per token and 1 ms per run: up to five tokens of padding pay for each length that joins.
        anchor, pays, pays_too, does_not = Entry(30, 0), Entry(28, 1), Entry(25, 2), Entry(24, 3)
        queue = queue_of([anchor, pays, pays_too, does_not])
        assert queue.take() == [anchor, pays, pays_too]
        assert queue.take() == [does_not]

    def test_the_padding_of_a_longer_text_counts_for_the_whole_batch(self) -> None:
        six, longer = [Entry(30, due) for due in range(6)], Entry(32, 9)
        queue = queue_of([*six, longer])
        assert queue.take() == six  # 6 x 2 tokens of padding cost more than half a run
        assert queue_of([*six[:2], longer]).take() == [*six[:2], longer]

    def test_the_padding_of_shorter_texts_counts_for_all_of_them(self) -> None:
        cost = CostModel(base_ms=1, token_ms=0.02)
        long, short = Entry(54, 0), [Entry(5, due) for due in range(1, 16)]
        queue = queue_of([long, *short], cost)
        assert queue.take() == [long]
        assert queue.take() == short

    def test_no_batch_has_more_padded_tokens_than_allowed(self) -> None:
        queue = queue_of([Entry(30, due) for due in range(5)], tokens=70)
        assert [len(queue.take()) for _ in range(3)] == [2, 2, 1]

    def test_a_text_over_the_token_limit_runs_alone(self) -> None:
        assert len(queue_of([Entry(512, 0), Entry(512, 1)], tokens=100).take()) == 1

    def test_idle_slots_share_the_queue(self) -> None:
        queue = queue_of([Entry(10, due) for due in range(6)])
        assert [len(queue.take(2)), len(queue.take(2, busy_ms=4.0))] == [3, 3]

    def test_a_discarded_entry_is_never_taken(self) -> None:
        discarded, stays = Entry(10, 0), Entry(10, 1)
        queue = queue_of([discarded, stays])
        queue.discard(discarded)
        queue.discard(discarded)
        assert len(queue) == 1
        assert queue.take() == [stays]

    @given(
        st.lists(st.tuples(st.integers(1, 64), st.floats(0, 10)), max_size=80),
        st.integers(1, 20),
        st.integers(0, 2**32),
    )
    def test_each_entry_is_taken_once_and_the_longest_due_first(
        self, given_entries: list[tuple[int, float]], size: int, seed: int
    ) -> None:
        rng = random.Random(seed)
        entries = [Entry(tokens, due) for tokens, due in given_entries]
        queue = queue_of(entries, size=size, tokens=256)
        waiting = set(entries)
        for entry in rng.sample(entries, len(entries) // 4):
            queue.discard(entry)
            waiting.discard(entry)
        while batch := queue.take(rng.randint(1, 3), rng.uniform(0, 20)):
            assert len(batch) <= size
            assert len(batch) == 1 or max(entry.tokens for entry in batch) * len(batch) <= 256
            lengths = {entry.tokens for entry in batch}
            separately = len(lengths) * 1 + 0.1 * sum(entry.tokens for entry in batch)
            assert 1 + 0.1 * max(lengths) * len(batch) <= separately + 1e-9
            assert min(entry.due for entry in waiting) == min(entry.due for entry in batch)
            assert waiting.issuperset(batch)
            waiting.difference_update(batch)
        assert waiting == set()
        assert queue.backlog_ms() == 0


class TestTakeIfTheModelPacks:
    def test_entries_are_taken_in_due_order_whatever_their_lengths(self) -> None:
        long, short, middle, last = Entry(90, 2), Entry(3, 0), Entry(40, 1), Entry(3, 3)
        queue = queue_of([long, short, middle, last], size=3, skips_padding=True)
        assert queue.take() == [short, middle, long]
        assert queue.take() == [last]

    def test_tokens_do_not_include_padding(self) -> None:
        lane = Lane(upper, skips_padding=True)
        batch = [Entry(3, 0, lane), Entry(40, 1, lane)]
        assert tokens_of(batch) == 43
        lane.skips_padding = False
        assert tokens_of(batch) == 80

    def test_only_a_single_long_text_may_exceed_the_token_limit(self) -> None:
        entries = [Entry(tokens, due) for due, tokens in enumerate((30, 40, 20, 600, 10))]
        queue = queue_of(entries, tokens=80, skips_padding=True)
        assert [queue.take() for _ in range(4)] == [entries[:2], entries[2:3], entries[3:4], entries[4:]]

    def test_entries_that_are_not_due_do_not_join_those_that_are(self) -> None:
        bulk, due, hastened = [Entry(10, math.inf) for _ in range(5)], Entry(10, 0), Entry(10, math.inf)
        queue = queue_of([*bulk, hastened, due], skips_padding=True)
        queue.hasten(hastened, Caller("a"))
        assert queue.take() == [due, hastened]
        assert queue.take() == bulk

    def test_idle_slots_share_the_queue(self) -> None:
        queue = queue_of([Entry(10 + due, due) for due in range(6)], skips_padding=True)
        assert [len(queue.take(2)), len(queue.take(2, busy_ms=4.3))] == [3, 3]

    def test_slots_share_the_work_and_not_the_texts(self) -> None:
        long, *short = entries = [Entry(80, 0), *(Entry(10, due) for due in range(1, 9))]
        queue = queue_of(entries, skips_padding=True)
        assert queue.take(2) == [long]
        assert queue.take(2, busy_ms=9.0) == short

    @pytest.mark.parametrize(("busy_ms", "taken"), [(0.0, 4), (2.0, 5), (6.0, 7), (8.0, 8), (100.0, 8)])
    def test_a_slot_leaves_what_a_busy_one_can_do_in_the_same_time(self, busy_ms: float, taken: int) -> None:
        # Eight texts take 8 ms. If the other slot needs 2 ms more, both are done after 5 ms.
        queue = queue_of([Entry(10, due) for due in range(8)], skips_padding=True)
        assert len(queue.take(2, busy_ms)) == taken
        assert len(queue_of([Entry(10, due) for due in range(8)]).take(2, busy_ms)) == taken

    def test_discarded_entries_are_skipped_before_and_after_a_sweep(self) -> None:
        entries = [Entry(10, due) for due in range(400)]
        queue = queue_of(entries, skips_padding=True)
        for entry in entries[::2]:
            queue.discard(entry)
        taken = []
        while batch := queue.take():
            taken += batch
        assert taken == entries[1::2]

    @given(st.lists(st.tuples(st.integers(1, 64), st.floats(0, 10)), max_size=80), st.integers(1, 20))
    def test_each_entry_is_taken_once_in_due_order(self, given_entries: list[tuple[int, float]], size: int) -> None:
        entries = [Entry(tokens, due) for tokens, due in given_entries]
        queue = queue_of(entries, size=size, tokens=100, skips_padding=True)
        taken: list[Entry] = []
        while batch := queue.take():
            assert len(batch) <= size
            assert len(batch) == 1 or sum(entry.tokens for entry in batch) <= 100
            taken += batch
        assert taken == sorted(entries, key=lambda entry: entry.due)
        assert queue.backlog_ms() == 0


class TestFairness:
    @pytest.mark.parametrize(
        ("tokens", "texts"),
        [([10], 1), ([10] * 5, 5), ([10] * 40, 16), ([200] * 5, 2), ([600] * 3, 1), ([10, 500, 10], 1)],
    )
    def test_the_first_turn_of_a_list_is_one_batch(self, tokens: list[int], texts: int) -> None:
        assert queue_of([], tokens=512).first_turn(tokens, lanes[-1]) == texts

    def test_a_first_turn_does_not_count_skipped_padding(self) -> None:
        assert queue_of([], tokens=512, skips_padding=True).first_turn([10, 490, 10, 10], lanes[-1]) == 3

    def test_a_list_waits_each_turn_for_due_entries_but_once_for_all(self) -> None:
        queue = queue_of([])
        caller = queue.callers.find("a")
        for due in (0.0, *[math.inf] * 15):
            entry = Entry(100, due)
            entry.caller = caller
            queue.push(entry)
        due_ms, all_ms, own_ms = 0.1 * 100 + 1, 0.1 * 1600 + 1, 0.1 * 50 * 20 + 2
        assert queue.in_turns_ms([50] * 20, 2, caller) == pytest.approx(2 * due_ms + own_ms)
        assert queue.in_turns_ms([50] * 20, 1.1, caller) == pytest.approx(2 * due_ms + own_ms)
        assert queue.in_turns_ms([50] * 20, 100, caller) == pytest.approx(all_ms + own_ms)

    def test_a_list_waits_for_as_much_work_of_each_other_caller_as_its_own(self) -> None:
        queue = queue_of([], cost=CostModel(base_ms=0, token_ms=0.1))
        for name, tokens in (("long", 4000), ("short", 30)):
            entry = Entry(tokens, 0.0)
            entry.caller = queue.callers.find(name)
            queue.push(entry)
        guest = queue.callers.find("guest")
        assert queue.in_turns_ms([10] * 5, 1, guest) == pytest.approx(0.1 * (50 + 50 + 30))
        assert queue.wait_ms(guest, 10) == pytest.approx(0.1 * (10 + 10))

    def test_the_next_batch_is_as_full_as_the_limits_allow(self) -> None:
        assert queue_of([]).batch_ms() == 1
        assert queue_of([Entry(10, 0)] * 3).batch_ms() == pytest.approx(1 + 0.1 * 30)
        assert queue_of([Entry(10, 0) for _ in range(100)]).batch_ms() == pytest.approx(1 + 0.1 * 160)
        assert queue_of([Entry(100, 0) for _ in range(100)], tokens=512).batch_ms() == pytest.approx(1 + 0.1 * 512)

    def test_a_single_text_goes_ahead_of_an_earlier_long_list(self) -> None:
        queue = queue_of([])
        bulk = [Entry(50, 0.0 if index < 16 else math.inf) for index in range(200)]
        for entry in bulk:
            queue.push(entry)
        single = Entry(10, 5.0)
        queue.push(single)
        batches = 0
        while single.queued:
            queue.take()
            batches += 1
        assert batches == 2  # of the fourteen that the list takes

    def test_only_due_entries_count_as_backlog(self) -> None:
        queue = queue_of([Entry(100, math.inf), Entry(100, 2.0), Entry(100, 3.0)])
        assert queue.backlog_ms() == pytest.approx(0.1 * 200 + 1)
        while queue.take():
            pass
        assert queue.backlog_ms() == 0

    def test_a_hastened_entry_is_taken_earlier_and_once(self) -> None:
        caller = Caller("a")
        entries = [Entry(30, due) for due in (-2.0, 100.0, math.inf)]
        queue = queue_of(entries, size=1)
        queue.hasten(entries[2], caller)
        queue.hasten(entries[2], caller)  # it is due already
        queue.hasten(entries[0], caller)  # it would be later
        assert queue.backlog_ms() == pytest.approx(0.1 * 90 + 3)
        assert [queue.take() for _ in range(4)] == [[entries[0]], [entries[2]], [entries[1]], []]
        assert queue.backlog_ms() == 0


def test_the_queue_keeps_no_entry_that_was_taken_or_discarded() -> None:
    queue = queue_of([])
    for number in range(200):
        entries = [Entry(10 + number % 7, number + index / 100) for index in range(50)]
        for entry in entries:
            queue.push(entry)
        for entry in entries[::3]:
            queue.discard(entry)
        while queue.take():
            pass
    held = sum(map(len, lanes[-1].by_length.values()))
    assert held < 200  # of 10 000
