"""The fewest cores that reach a goal. Pure."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from .costs import Costs
from .forecasts import Forecast, Layout, Limits, Load, forecast

MOST_REFUSED = 0.001  # of the requests, for a goal to count as reached
SIZES = (1, 2, 4)  # cores of a replica that are tried
# If a replica is busy for less than this share of its time, still more replicas would not make it faster.
_IDLE = 0.02


@dataclass(frozen=True, slots=True)
class Goal:
    """What must hold: p99, and what may be used at most."""

    p99_ms: float
    max_cores: float = math.inf
    max_memory_mb: float = math.inf

    def is_met(self, expected: Forecast) -> bool:
        """Return whether the requests are answered in time, whatever it takes."""
        return expected.p99_ms <= self.p99_ms and expected.refused <= MOST_REFUSED


@dataclass(frozen=True, slots=True)
class Plan:
    """What the goal needs; if it cannot be reached, what is closest to it, and why.

    `text`: one text alone takes too long. `latency`: the replicas that are given are too slow under this load. `cores`
    and `memory`: it would take more than what may be used; `needed` is what it would take.
    """

    expected: Forecast
    alone_p99_ms: float
    missing: Literal["text", "latency", "cores", "memory"] | None = None
    needed: Forecast | None = None


def plan(
    load: Load, costs: Costs, goal: Goal, limits: Limits | None = None, *, cores: int = 0, replicas: int = 0
) -> Plan:
    """Return the layout with the fewest cores, and of those with equally many the one with the fewest replicas.

    `cores` fixes the cores of a replica, and `replicas` their number: 0 means any.
    """
    alone_ms = _alone_p99_ms(load, costs)
    sizes = (cores,) if cores else SIZES
    if replicas:
        layouts = [Layout(replicas, size) for size in sizes]
        forecasts = [forecast(load, costs, layout, limits) for layout in layouts]
        if expected := next(filter(goal.is_met, forecasts), None):
            return _within(goal, expected, alone_ms)
        expected = forecast(load, costs, layouts[-1], limits, overloaded=True)
        return Plan(expected, alone_ms, "text" if alone_ms > goal.p99_ms else "latency")
    if alone_ms > goal.p99_ms:
        return Plan(forecast(load, costs, _idle(load, costs, sizes[0]), limits), alone_ms, "text")
    best: Forecast | None = None
    for size in sizes:
        if best is None or _least(load, costs, size) * size <= best.layout.total_cores:
            found = _fewest(load, costs, goal, limits, size)
            if found and (best is None or found.layout.total_cores <= best.layout.total_cores):
                best = found
    if best is None:
        return Plan(forecast(load, costs, _idle(load, costs, sizes[-1]), limits), alone_ms, "latency")
    within = _within(goal, best, alone_ms)
    if within.missing == "cores":
        size = next((size for size in reversed(sizes) if size <= goal.max_cores), 1)
        layout = Layout(max(1, int(goal.max_cores // size)), size)
        return Plan(forecast(load, costs, layout, limits, overloaded=True), alone_ms, "cores", best)
    return within


def _within(goal: Goal, expected: Forecast, alone_ms: float) -> Plan:
    over_cores = expected.layout.total_cores / goal.max_cores
    over_memory = expected.memory_mb / goal.max_memory_mb
    if max(over_cores, over_memory) <= 1:
        return Plan(expected, alone_ms)
    return Plan(expected, alone_ms, "cores" if over_cores >= over_memory else "memory", expected)


def _alone_p99_ms(load: Load, costs: Costs) -> float:
    """Return p99 of requests that never meet another one."""
    hit_ms = costs.hit_ms + costs.extra_ms
    miss_ms = load.lengths.alone_ms(costs)
    # Of all requests, a hundredth is slower. Hits are the fastest.
    slower = 0.01 / (1 - load.hit_rate) if load.hit_rate < 1 else 1.0
    return float(np.percentile(miss_ms, 100 * (1 - slower))) if slower < 1 else hit_ms


def _work_ms(load: Load, costs: Costs) -> tuple[float, float]:
    """Return the milliseconds of an event loop, and the least of a core, for a request on average."""
    misses = 1 - load.hit_rate
    loop_ms = load.hit_rate * costs.hit_ms + misses * costs.request_ms
    return loop_ms, loop_ms + misses * costs.token_ms * costs.depths.mean * load.lengths.mean


def _least(load: Load, costs: Costs, size: int) -> int:
    """Return how many replicas could do the work if each was busy all the time."""
    loop_ms, core_ms = _work_ms(load, costs)
    return max(1, math.ceil(load.rps / 1000 * max(loop_ms, core_ms / size)))


def _idle(load: Load, costs: Costs, size: int) -> Layout:
    """Return so many replicas that more would make no difference."""
    return Layout(math.ceil(_least(load, costs, size) / _IDLE), size)


def _fewest(load: Load, costs: Costs, goal: Goal, limits: Limits | None, size: int) -> Forecast | None:
    """Return the fewest replicas of this size that meet the goal, by bisection; None if no number does."""
    most = _idle(load, costs, size).replicas
    low, high, step = _least(load, costs, size) - 1, _least(load, costs, size), 1
    best = forecast(load, costs, Layout(high, size), limits)
    while not goal.is_met(best):
        if high >= most:
            return None
        low, high = high, min(most, high + step)
        step = max(2 * step, high // 8)
        best = forecast(load, costs, Layout(high, size), limits)
    while high - low > 1:
        middle = (low + high) // 2
        expected = forecast(load, costs, Layout(middle, size), limits)
        if goal.is_met(expected):
            high, best = middle, expected
        else:
            low = middle
    return best
