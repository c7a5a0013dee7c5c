"""Faults by their names, and what well-behaved clients see of each."""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import httpx

from tests.support.waiting import HANG_S, until


@dataclass(frozen=True, slots=True)
class Outcome:
    """The effect of a fault. `lost` counts requests of well-behaved clients that did not get the right response."""

    fault: str
    requests: int
    lost: int
    responses: dict[str, int]
    recovery_s: float | None  # from the fault to the next right response, where that was measured


FAULTS: dict[str, Callable[[], Outcome]] = {}


def fault(run: Callable[[], Outcome]) -> Callable[[], Outcome]:
    """Register a fault by the name of its function."""
    FAULTS[run.__name__.replace("_", " ")] = run
    return run


def outcome(
    title: str, responses: Counter[str], allowed: tuple[str, ...] = (), recovery_s: float | None = None
) -> Outcome:
    """Count every response as lost that is neither right nor `allowed`."""
    lost = sum(count for response, count in responses.items() if response not in {"right", *allowed})
    return Outcome(title, responses.total(), lost, dict(responses), recovery_s)


def answers_right(address: str) -> bool:
    try:
        text = {"text": f"a good day {random.random()}"}
        response = httpx.post(f"{address}/predict", json=text, trust_env=False, timeout=HANG_S)
    except httpx.HTTPError:
        return False
    return response.status_code == 200 and response.json()["label"] == "positive"


def wait_for_recovery(address: str) -> None:
    until(lambda: answers_right(address), on_timeout=lambda: "the service did not recover")
