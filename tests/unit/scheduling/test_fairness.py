"""Callers take turns."""

import asyncio
import math
import time

import pytest

from app.errors import Overloaded
from app.scheduling.cost import CostModel
from app.scheduling.fairness import Callers
from app.scheduling.item import WorkItem
from app.scheduling.queue import BatchQueue, Client, Entry
from app.scheduling.scheduler import Scheduler
from tests.unit.scheduling.test_scheduler import LAYOUT, Gate, layout, recorder, scheduling, settled

__all__ = ["layout"]  # both ways here, too


def queue() -> BatchQueue[Entry]:
    return BatchQueue(CostModel(base_ms=1.0, token_ms=0.1), max_batch_size=4, max_batch_tokens=512, **LAYOUT)


def entry(client: Client, due_s: float = math.inf) -> Entry:
    made = Entry(5, due_s)
    made.client = client
    return made


class TestCallers:
    def test_a_caller_is_found_again_by_its_name(self) -> None:
        callers: Callers[Entry] = Callers(most_due=2)
        assert callers.find("a") is callers.find("a")
        assert callers.find("a") is not callers.find("b")

    def test_the_queue_counts_what_is_due(self) -> None:
        waiting, client = queue(), Client()
        now, later = entry(client, 0.0), entry(client)
        for each in (now, later):
            waiting.push(each)
        client.waiting.append(later)
        assert client.due == 1
        assert waiting.waiting_ms(client) == pytest.approx(1.5)
        waiting.hasten(later, 1.0)
        assert client.due == 2
        assert len(waiting.take()) == 2
        assert client.due == 0

    def test_only_so_many_entries_of_a_caller_are_due(self) -> None:
        callers: Callers[Entry] = Callers(most_due=2)
        waiting, client = queue(), callers.find("a")
        assert callers.room(client) == 2
        waiting.push(entry(client, 0.0))
        assert callers.room(client) == 1
        second, third = entry(client), entry(client)
        for each in (second, third):
            waiting.push(each)
            client.waiting.append(each)
        assert callers.room(client) == 0  # nobody overtakes those of one's own that wait
        assert callers.turn(client) is second
        waiting.hasten(second, 1.0)
        assert callers.turn(client) is None
        waiting.take()
        # What isn't due takes up padding of those that are, and no place in a common row.
        assert callers.turn(client) is (third if LAYOUT["packs"] else None)

    def test_what_left_meanwhile_has_no_turn(self) -> None:
        callers: Callers[Entry] = Callers(most_due=1)
        waiting, client = queue(), callers.find("a")
        gone, stays = entry(client), entry(client)
        for each in (gone, stays):
            waiting.push(each)
            client.waiting.append(each)
        waiting.discard(gone)
        assert callers.turn(client) is stays
        assert callers.sharing() == 0


Asked = list[asyncio.Future[str]]


def ask(scheduler: Scheduler[str, str], caller: str | None, *texts: str, tokens: int = 5) -> Asked:
    deadline_s = time.monotonic() + 10
    items: list[WorkItem[str, str]] = [WorkItem(tokens, text, settled.append) for text in texts]
    scheduler.submit(items, deadline_s, caller)
    return [scheduler.join(item, deadline_s) for item in items]


def turns(gate: Gate) -> list[str]:
    """Whose texts each batch had, by their first letters."""
    return ["".join(sorted({text[0] for text in batch})) for batch in gate.batches]


async def test_one_callers_flood_does_not_hold_up_another() -> None:
    gate = Gate()
    async with scheduling(gate, max_batch_size=2) as scheduler:
        asked = ask(scheduler, None, "x")
        for number in range(40):
            asked += ask(scheduler, "flood", f"f{number}")
        late = ask(scheduler, "guest", "g0", tokens=9)
        gate.open.set()
        assert await late[0] == "G0"
        assert next(turn for turn, whose in enumerate(turns(gate)) if "g" in whose) <= 2
        await asyncio.gather(*asked)


async def test_two_floods_share_the_machine() -> None:
    gate = Gate()
    async with scheduling(gate, max_batch_size=2) as scheduler:
        asked = ask(scheduler, None, "x")
        for number in range(20):
            asked += ask(scheduler, "a", f"a{number}")
        for number in range(20):
            asked += ask(scheduler, "b", f"b{number}", tokens=40)
        gate.open.set()
        await asyncio.gather(*asked)
        assert turns(gate)[1:] == ["a", "b"] * 10


async def test_lists_of_one_caller_share_its_turns_with_its_single_texts() -> None:
    gate = Gate()
    async with scheduling(gate, max_batch_size=2) as scheduler:
        asked = ask(scheduler, None, "x")
        asked += ask(scheduler, "a", *(f"a{number}" for number in range(20)))
        asked += ask(scheduler, "b", *(f"b{number}" for number in range(20)), tokens=40)
        asked += ask(scheduler, "a", "a single", tokens=5)
        gate.open.set()
        await asyncio.gather(*asked)
        assert turns(gate)[1:] == ["a", "b"] * 10 + ["a"]
        assert len(settled) == 42
        assert next(turn for turn, batch in enumerate(gate.batches) if "a single" in batch) <= 5


async def test_a_flood_is_refused_for_its_own_backlog_while_others_are_admitted() -> None:
    gate = Gate()
    async with scheduling(gate, max_batch_size=2, max_wait_ms=5000) as scheduler:  # far longer than this test takes
        ask(scheduler, None, "x")
        refused: list[float] = []
        for number in range(1000):
            try:
                ask(scheduler, "flood", f"f{number}", tokens=5000)
            except Overloaded as error:
                refused.append(error.retry_after_s)
        assert min(refused) > 5
        assert recorder.refusals == ["wait"] * len(refused)
        assert scheduler.depth < 20
        ask(scheduler, "guest", "g")


async def test_turns_go_on_when_texts_leave_or_expire() -> None:
    gate = Gate()
    async with scheduling(gate, max_batch_size=1) as scheduler:
        ask(scheduler, None, "x")
        deadline_s = time.monotonic() + 10
        items: list[WorkItem[str, str]] = [WorkItem(5, f"a{number}", settled.append) for number in range(4)]
        waiters = []
        for item in items:
            scheduler.submit([item], deadline_s, "a")
            waiters.append(scheduler.join(item, deadline_s))
        for item, waiter in zip(items[:2], waiters[:2], strict=True):
            waiter.cancel()
            scheduler.leave(item)
        assert [item.due_s < math.inf for item in items[2:]] == [True, False]
        gate.open.set()
        assert await asyncio.gather(*waiters[2:]) == ["A2", "A3"]


async def test_a_callers_own_list_does_not_get_its_single_texts_refused() -> None:
    gate = Gate()
    async with scheduling(gate) as scheduler:  # 0.1 ms a token: four seconds of work
        ask(scheduler, "a", *(f"a{number}" for number in range(40)), tokens=1000)
        (single,) = ask(scheduler, "a", "single")
        gate.open.set()
        assert await single == "SINGLE"
        assert next(turn for turn, batch in enumerate(gate.batches) if "single" in batch) <= 2
