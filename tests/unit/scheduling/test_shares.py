"""A caller that uses less than its share is refused no more than when it is alone, whatever the others do."""

import asyncio
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.scheduling import layout, scheduling, upper
from tests.support.simulation import BASE_MS, TOKEN_MS, Simulation, Traffic

__all__ = ["layout"]


async def simulate(traffic: list[Traffic], seconds: float, *, seed: int = 0, **limits: float) -> None:
    async with scheduling(upper, **{"max_wait_ms": 1000, **limits}) as scheduler:
        await Simulation(scheduler, traffic, seed).run(seconds)


def polite(others: int, *, tokens: int = 10, texts: int = 1) -> Traffic:
    """A caller that needs half of its share of one slot."""
    needs_s = texts * (BASE_MS + TOKEN_MS * tokens) / 1000
    return Traffic("polite", tokens, texts, interval_s=2 * (others + 1) * needs_s, timeout_s=5)


FLOOD = st.builds(
    Traffic,
    st.sampled_from("fghi"),
    tokens=st.sampled_from([1, 10, 100, 512]),
    texts=st.sampled_from([1, 1, 8, 32]),
    connections=st.sampled_from([1, 8, 24]),
    retry_s=st.sampled_from([0.05, 0.2]),
    timeout_s=st.sampled_from([1.0, 10.0]),
)
SHAPES = st.sampled_from([(10, 1), (100, 1), (10, 8)])


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(FLOOD, min_size=1, max_size=4), SHAPES, st.integers(0, 99), st.sampled_from([200, 4096]))
def test_a_caller_within_its_share_is_refused_no_more_than_alone(
    floods: list[Traffic], shape: tuple[int, int], seed: int, max_queue_texts: int
) -> None:
    tokens, texts = shape
    others = len({each.caller for each in floods})
    alone, beside = (polite(others, tokens=tokens, texts=texts) for _ in range(2))
    floods = [replace(each, outcomes=Counter()) for each in floods]
    asyncio.run(simulate([alone], 0.7, seed=seed, max_queue_texts=max_queue_texts))
    asyncio.run(simulate([*floods, beside], 0.7, seed=seed, max_queue_texts=max_queue_texts))
    assert beside.refused <= alone.refused == 0
    assert beside.outcomes["ok"] > 0 or 2 * beside.interval_s > 0.7


@pytest.mark.parametrize("others", [1, 20])
async def test_floods_from_many_callers_do_not_keep_a_caller_out(others: int) -> None:
    floods = [Traffic(f"{number}", 400, connections=4) for number in range(others)]
    guest = polite(others)
    await simulate([*floods, guest], 2.0)
    assert guest.refused == 0
    assert guest.outcomes["ok"] > 10


async def test_two_floods_get_the_same_time_whatever_their_texts() -> None:
    long, short = Traffic("long", 400, connections=16), Traffic("short", 10, connections=200)
    await simulate([long, short], 4.0)
    work_ms = [each.outcomes["ok"] * (BASE_MS / 16 + TOKEN_MS * each.tokens) for each in (long, short)]
    assert 0.7 < work_ms[0] / work_ms[1] < 1.4


async def test_one_caller_alone_has_the_whole_model() -> None:
    flood = Traffic("flood", 10, connections=48)
    await simulate([flood], 1.0)
    assert flood.refused == 0
    capacity = 1000 / (BASE_MS / 16 + TOKEN_MS * 10)
    assert flood.outcomes["ok"] > 0.8 * capacity


async def test_many_light_callers_are_refused_before_they_are_late() -> None:
    capacity_per_s = 1000 / (BASE_MS / 16 + TOKEN_MS * 50)
    crowd = [Traffic(f"{number}", 50, interval_s=200 / (3 * capacity_per_s), timeout_s=1) for number in range(200)]
    await simulate(crowd, 4.0)
    outcomes = sum((each.outcomes for each in crowd), start=Counter[str]())
    assert outcomes["ok"] > 0.85 * capacity_per_s * 3
    assert outcomes["Overloaded"] > 0
    assert outcomes["late"] + outcomes["DeadlineExceeded"] <= 0.05 * outcomes.total()
