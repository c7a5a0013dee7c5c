"""Callers take turns, so that a caller that floods the service delays only itself."""

import asyncio
import itertools
import math

import pytest

from app.errors import Overloaded
from app.scheduling import CostModel
from app.scheduling.fairness import Callers
from app.scheduling.queue import BatchQueue, Client, Entry
from tests.support.scheduling import LAYOUT, Gate, layout, recorder, scheduling, settled, submit

__all__ = ["layout"]


def new_queue() -> BatchQueue[Entry]:
    return BatchQueue(CostModel(base_ms=1.0, token_ms=0.1), max_batch_size=4, max_batch_tokens=512, **LAYOUT)


def entry_of(client: Client, due_s: float = math.inf) -> Entry:
    entry = Entry(5, due_s)
    entry.client = client
    return entry


class TestCallers:
    def test_a_caller_is_identified_by_its_name(self) -> None:
        callers: Callers[Entry] = Callers(most_due=2)
        assert callers.find("a") is callers.find("a")
        assert callers.find("a") is not callers.find("b")

    def test_the_queue_counts_the_entries_that_are_due(self) -> None:
        queue, client = new_queue(), Client()
        now, later = entry_of(client, 0.0), entry_of(client)
        for entry in (now, later):
            queue.push(entry)
        client.waiting.append(later)
        assert client.due == 1
        assert queue.waiting_ms(client) == pytest.approx(1.5)
        queue.hasten(later, 1.0)
        assert client.due == 2
        assert len(queue.take()) == 2
        assert client.due == 0

    def test_a_limited_number_of_entries_of_a_caller_is_due(self) -> None:
        callers: Callers[Entry] = Callers(most_due=2)
        queue, client = new_queue(), callers.find("a")
        assert callers.room(client) == 2
        queue.push(entry_of(client, 0.0))
        assert callers.room(client) == 1
        second, third = entry_of(client), entry_of(client)
        for entry in (second, third):
            queue.push(entry)
            client.waiting.append(entry)
        assert callers.room(client) == 0  # a new entry does not overtake earlier ones of its caller
        assert callers.turn(client) is second
        queue.hasten(second, 1.0)
        assert callers.turn(client) is None
        queue.take()
        # An entry that is not due fills up the padding of a batch, but takes no place where padding costs nothing.
        assert callers.turn(client) is (third if LAYOUT["skips_padding"] else None)

    def test_an_entry_that_left_has_no_turn(self) -> None:
        callers: Callers[Entry] = Callers(most_due=1)
        queue, client = new_queue(), callers.find("a")
        left, stays = entry_of(client), entry_of(client)
        for entry in (left, stays):
            queue.push(entry)
            client.waiting.append(entry)
        queue.discard(left)
        assert callers.turn(client) is stays
        assert callers.sharing() == 0


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
        requests += [submit(scheduler, f"a{number}", caller="a") for number in range(20)]
        requests += [submit(scheduler, f"b{number}", tokens=40, caller="b") for number in range(20)]
        gate.open.set()
        await asyncio.gather(*(request.results() for request in requests))
        assert turns(gate)[1:] == ["a", "b"] * 10


async def test_lists_of_a_caller_share_its_turns_with_its_single_texts() -> None:
    gate = Gate()
    async with scheduling(gate, max_batch_size=2) as scheduler:
        requests = [submit(scheduler, "x")]
        requests.append(submit(scheduler, *(f"a{number}" for number in range(20)), caller="a"))
        requests.append(submit(scheduler, *(f"b{number}" for number in range(20)), tokens=40, caller="b"))
        requests.append(submit(scheduler, "a single", tokens=5, caller="a"))
        gate.open.set()
        await asyncio.gather(*(request.results() for request in requests))
        assert turns(gate)[1:] == ["a", "b"] * 10 + ["a"]
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
        assert min(refused) > 5
        assert recorder.refusals == ["wait"] * len(refused)
        assert scheduler.depth < 20
        submit(scheduler, "g", caller="guest")


async def test_turns_go_on_when_texts_leave() -> None:
    gate = Gate()
    async with scheduling(gate, max_batch_size=1) as scheduler:
        submit(scheduler, "x")
        requests = [submit(scheduler, f"a{number}", caller="a") for number in range(4)]
        for request in requests[:2]:
            request.futures[0].cancel()
            scheduler.leave(request.items[0])
        items = itertools.chain.from_iterable(request.items for request in requests[2:])
        assert [item.due_s < math.inf for item in items] == [True, False]
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
