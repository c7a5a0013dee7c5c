"""A list is accepted whole or refused whole, and takes turns with other requests."""

import pytest

from app.errors import Overloaded
from tests.support.scheduling import Gate, clock, layout, recorder, scheduling, submit, upper

__all__ = ["layout"]


async def test_a_list_is_admitted_whole_or_refused_whole() -> None:
    gate = Gate()
    async with scheduling(gate, max_queue_texts=3) as scheduler:
        submit(scheduler, "a")
        submit(scheduler, "b", "c")
        with pytest.raises(Overloaded):
            submit(scheduler, "d", "e")
        assert scheduler.depth == 2
        assert recorder.refusals == ["full"]
        submit(scheduler, "f")


async def test_an_idle_scheduler_admits_a_list_of_any_estimate() -> None:
    async with scheduling(upper, max_wait_ms=1) as scheduler:
        assert len(await submit(scheduler, *"abcdefghij", tokens=5000).results()) == 10


async def test_a_list_that_would_miss_its_deadline_is_refused() -> None:
    gate = Gate()
    async with scheduling(gate) as scheduler:  # 0.1 ms per token
        submit(scheduler, "a", tokens=10)
        submit(scheduler, *"bcdefghijk", tokens=1000, timeout_s=2)  # a second of work
        with pytest.raises(Overloaded):
            submit(scheduler, *"lmnopqrstu", tokens=1000, timeout_s=1.5)
        assert recorder.refusals == ["deadline"]
        submit(scheduler, "v", timeout_s=1.5)  # a lone text goes ahead of them


async def test_a_short_list_is_not_refused_for_the_length_of_another() -> None:
    gate = Gate()
    async with scheduling(gate, max_batch_size=2) as scheduler:  # 0.1 ms per token
        long = submit(scheduler, *["long"] * 40, tokens=1000, timeout_s=60)  # four seconds of work, two texts per turn
        short = submit(scheduler, *"abcd", tokens=10, timeout_s=2)
        gate.open.set()
        assert await short.results() == [*"ABCD"]
        assert not all(future.done() for future in long.futures)


async def test_a_list_takes_turns_even_if_its_estimate_is_wrong() -> None:
    gate = Gate()
    async with scheduling(gate, max_batch_size=2) as scheduler:
        submit(scheduler, "x")
        submit(scheduler, *(f"list {number}" for number in range(40)))
        estimate_s = 40 * 0.0015
        clock.advance(2 * estimate_s)
        lone = submit(scheduler, "lone")
        gate.open.set()
        assert await lone.results() == ["LONE"]
        assert next(turn for turn, batch in enumerate(gate.batches) if "lone" in batch) <= 2


async def test_two_lists_share_the_machine() -> None:
    gate = Gate()
    async with scheduling(gate, max_batch_size=2) as scheduler:
        submit(scheduler, "x")
        requests = [submit(scheduler, *(f"a{number}" for number in range(10)))]
        requests.append(submit(scheduler, *(f"b{number}" for number in range(10)), tokens=40))
        gate.open.set()
        for request in requests:
            await request.results()
        assert "".join(batch[0][0] for batch in gate.batches[1:]) == "ab" * 5


async def test_a_request_that_joins_the_end_of_a_list_does_not_wait_for_it() -> None:
    gate = Gate()
    async with scheduling(gate, max_batch_size=1) as scheduler:
        submit(scheduler, "a")
        listed = submit(scheduler, *"bcdefgh", tokens=50)
        result = scheduler.join(listed.items[-1], clock.now_s + 5)
        gate.open.set()
        assert await result == "H"
        assert [batch[0] for batch in gate.batches].index("h") <= 2
