"""Which version answers a caller: by weight, and always the same one."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.serving.routing import Route

CALLERS = [f"caller {number}" for number in range(20_000)]


def sides(route: Route[str], callers: list[str] = CALLERS) -> dict[str, str]:
    return {caller: route.pick(caller) for caller in callers}


def canary(weight: float, model: str = "m") -> dict[str, str]:
    return sides(Route(model, [("main", 100 - weight), ("canary", weight)]))


def test_a_canary_of_10_percent_gets_9_to_11_percent_of_20000_callers() -> None:
    share = Counter(canary(10).values())["canary"] / len(CALLERS)
    assert 0.09 <= share <= 0.11


def test_a_caller_is_always_on_the_same_side() -> None:
    assert canary(10) == canary(10)


def test_a_canary_that_grows_keeps_its_callers() -> None:
    small, large = canary(5), canary(30)
    assert {caller for caller in CALLERS if small[caller] == "canary"} < {
        caller for caller in CALLERS if large[caller] == "canary"
    }


def test_a_canary_that_shrinks_takes_no_callers_from_the_others() -> None:
    large, small = canary(30), canary(5)
    assert all(small[caller] == "main" for caller in CALLERS if large[caller] == "main")


def test_the_callers_of_different_models_are_independent() -> None:
    one, other = canary(10, "one"), canary(10, "other")
    both = sum(one[caller] == other[caller] == "canary" for caller in CALLERS) / len(CALLERS)
    assert 0.005 <= both <= 0.015


def test_one_version_gets_every_caller() -> None:
    assert Route("m", [("only", 3.0)]).pick("anybody") == "only"


def test_a_version_without_weight_gets_no_caller() -> None:
    assert set(sides(Route("m", [("none", 0), ("all", 1), ("none", 0)])).values()) == {"all"}


def test_the_choice_does_not_change_from_release_to_release() -> None:
    route = Route("sentiment-en", [("a", 50), ("b", 50)])
    assert [route.pick(f"key {number}") for number in range(8)] == ["a", "b", "a", "a", "a", "a", "b", "b"]


@pytest.mark.parametrize("name", ["x" * 64, "é" * 64, "x" * 300])
def test_a_long_name_of_a_model_is_no_problem(name: str) -> None:
    assert Route(name, [("a", 1), ("b", 1)]).pick("caller") in {"a", "b"}


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0.01, 100), min_size=2, max_size=8))
def test_each_version_gets_its_part_of_the_callers(weights: list[float]) -> None:
    callers = CALLERS[:4000]
    counts = Counter(sides(Route("m", [(str(place), each) for place, each in enumerate(weights)]), callers).values())
    for place, weight in enumerate(weights):
        assert abs(counts[str(place)] / len(callers) - weight / sum(weights)) < 0.04
