"""A plan in sentences, for people who decide what to rent. Pure."""

import math
from collections.abc import Iterator

from .costs import WHOLE, Costs
from .forecasts import Forecast, Load, Parts
from .plans import MOST_REFUSED, Goal, Plan

_NAMES = {"model": "the model", "http": "HTTP and tokenising", "queue": "waiting for a core"}
_BUSY = 0.85
_NOTABLE_MS = 0.05


def describe(result: Plan, load: Load, costs: Costs, goal: Goal) -> str:
    """Return the plan, one line a thought."""
    lines = [*_verdict(result, load, goal), "", *_expected(result.expected), "", *_reasons(result.expected, costs)]
    return "\n".join(lines)


def _verdict(result: Plan, load: Load, goal: Goal) -> Iterator[str]:
    wanted = f"{load.rps:,g} requests/s with a p99 of at most {goal.p99_ms:,g} ms"
    if result.missing is None:
        yield f"{wanted}: {_resources(result.expected)}."
        return
    yield f"{wanted}: this cannot be reached."
    if result.missing == "text":
        yield (
            f"One text alone, on an idle replica, takes up to {_ms(result.alone_p99_ms)} (p99), so more replicas do "
            "not help. What helps: a faster core, less other work on it, shorter texts, a smaller model, or a higher "
            "p99."
        )
    elif result.missing == "latency":
        yield (
            f"With {_resources(result.expected)}, p99 is {_ms(result.expected.p99_ms)}{_refusals(result.expected)}. "
            f"One text alone takes up to {_ms(result.alone_p99_ms)}."
        )
    elif result.needed:
        given = f"{goal.max_cores:,g} cores" if result.missing == "cores" else f"{goal.max_memory_mb:,g} MB of memory"
        yield f"It needs {_resources(result.needed)}. Given are {given}."


def _expected(expected: Forecast) -> Iterator[str]:
    layout = expected.layout
    yield f"Expected with {_count(layout.replicas, 'replica')} of {_count(layout.cores, 'core')}:"
    yield f"  p50 {_ms(expected.p50_ms)}, p99 {_ms(expected.p99_ms)}, refused {expected.refused:.2%}"
    yield f"  the model runs {expected.model_share:.0%} of the time of each core"
    yield f"  the event loop of a process works {expected.loop_share:.0%} of the time"
    if expected.core_hours_per_million < math.inf:
        yield f"  {expected.core_hours_per_million:.3g} core-hours for a million texts"


def _reasons(expected: Forecast, costs: Costs) -> Iterator[str]:
    yield (
        f"A batch takes {costs.base_ms:.2f} ms and {costs.token_ms * 1000:.1f} µs for each token. HTTP and tokenising "
        f"take {costs.request_ms:.2f} ms of a request, {costs.hit_ms:.2f} ms if the cache has the answer."
    )
    if costs.delay_p99_ms >= _NOTABLE_MS:
        yield f"Other work on this machine delayed one request in a hundred by at least {costs.delay_p99_ms:.1f} ms."
    if costs.depths != WHOLE:
        yield f"Because texts may leave early, the model takes {costs.depths.mean:.0%} of this time on average."
    yield f"Most of the processor time is {_NAMES[expected.processor.largest]}: {_shares(expected.processor)}."
    yield f"Most of the time of the slowest requests is {_NAMES[expected.slow.largest]}: {_shares(expected.slow)}."
    if expected.loop_share > _BUSY:
        yield (
            "The event loop of each process is nearly always busy. A process has only one, so more cores for a replica "
            "do not help, but more replicas do."
        )


def _resources(expected: Forecast) -> str:
    layout = expected.layout
    each = f"{_count(layout.replicas, 'replica')} of {_count(layout.cores, 'core')}"
    return f"{each}, {layout.total_cores:,} in total, and {expected.memory_mb / 1024:,.1f} GB of memory"


def _refusals(expected: Forecast) -> str:
    return f", and {expected.refused:.1%} are refused with 429" if expected.refused > MOST_REFUSED else ""


def _shares(parts: Parts) -> str:
    named = {"model": parts.model, "HTTP": parts.http, "queue": parts.queue}
    return ", ".join(f"{name} {share:.0%}" for name, share in named.items() if share >= 0.005)


def _ms(value: float) -> str:
    return f"{value:.1f} ms" if value < 100 else f"{value:,.0f} ms"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
