"""Plans in sentences."""

from dataclasses import replace

import pytest

from app.capacity import Costs, Forecast, Goal, Layout, Lengths, Load, Parts, Plan, describe

COSTS = Costs(base_ms=1.0, token_ms=0.06, request_ms=0.5, hit_ms=0.25, memory_mb=200)
LOAD = Load(2000, Lengths([25]))
EXPECTED = Forecast(
    layout=Layout(3, 2),
    rps=2000,
    p50_ms=7.24,
    p99_ms=17.81,
    refused=0.0,
    model_share=0.8,
    loop_share=0.33,
    processor=Parts(0.17, 0.0, 0.83),
    slow=Parts(0.05, 0.5, 0.45),
    memory_mb=614.4,
)


def said(result: Plan, goal: Goal | None = None) -> str:
    return describe(result, LOAD, COSTS, goal or Goal(50))


def test_a_plan_says_what_to_run_what_to_expect_and_why() -> None:
    text = said(Plan(EXPECTED, 4.0))
    assert "2,000 requests/s with a p99 of at most 50 ms: 3 replicas of 2 cores, 6 in total, and 0.6 GB" in text
    assert "p50 7.2 ms, p99 17.8 ms, refused 0.00%" in text
    assert "0.833 core-hours for a million texts" in text
    assert "Most of the processor time is the model: model 83%, HTTP 17%." in text
    assert "Most of the time of the slowest requests is waiting for a core: model 45%, HTTP 5%, queue 50%." in text
    assert "event loop of each process is nearly always busy" not in text


def test_delays_are_named_if_they_were_measured() -> None:
    assert "delayed" not in said(Plan(EXPECTED, 4.0))
    measured = replace(COSTS, delays_ms=(0.0,) * 98 + (2.5, 2.5))
    assert "delayed one request in a hundred by at least 2.5 ms" in describe(
        Plan(EXPECTED, 4.0), LOAD, measured, Goal(50)
    )


def test_a_busy_event_loop_is_explained() -> None:
    assert "A process has only one" in said(Plan(replace(EXPECTED, loop_share=0.9), 4.0))


@pytest.mark.parametrize(
    ("result", "goal", "sentence"),
    [
        (Plan(EXPECTED, 60.0, "text"), Goal(50), "takes up to 60.0 ms (p99), so more replicas do not help"),
        (
            Plan(replace(EXPECTED, p99_ms=1200, refused=0.2), 6.0, "latency"),
            Goal(50),
            "p99 is 1,200 ms, and 20.0% are refused with 429. One text alone takes up to 6.0 ms.",
        ),
        (Plan(EXPECTED, 6.0, "cores", EXPECTED), Goal(50, max_cores=4), "Given are 4 cores."),
        (Plan(EXPECTED, 6.0, "memory", EXPECTED), Goal(50, max_memory_mb=500), "Given are 500 MB of memory."),
    ],
)
def test_what_cannot_be_reached_has_its_reason(result: Plan, goal: Goal, sentence: str) -> None:
    text = said(result, goal)
    assert "this cannot be reached" in text
    assert sentence in text


def test_one_is_not_plural() -> None:
    text = said(Plan(replace(EXPECTED, layout=Layout(1, 1)), 4.0))
    assert "1 replica of 1 core, 1 in total" in text
