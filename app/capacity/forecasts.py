"""What replicas would do under a load, by simulation. Pure."""

import math
from dataclasses import dataclass

import numpy as np

from .costs import Costs, Lengths
from .policy import ServicePolicy
from .simulation import Result, Simulation, Work

REQUESTS = 12_000
_SKIPPED = 2_000  # of them, at the beginning, when nothing is queued
_LONGER = 5  # times as many requests, until the queue of an overloaded replica is as long as it gets
# More replicas are simulated as so many with their part of the load: requests are spread as evenly over these.
_MOST_REPLICAS = 8
_SLOW_PERCENT = 99


@dataclass(frozen=True, slots=True)
class Load:
    """Requests of one text per second, at random times as of many clients (Poisson), and the share of cache hits."""

    rps: float
    lengths: Lengths
    hit_rate: float = 0.0


@dataclass(frozen=True, slots=True)
class Limits:
    """The settings of the service that decide what waits, what is refused, and what shares a batch."""

    max_wait_ms: float = 1000.0
    max_batch_size: int = 16
    max_batch_tokens: int = 512
    skips_padding: bool = True


@dataclass(frozen=True, slots=True)
class Layout:
    """So many replicas, of so many cores each. A replica is one process, with one event loop and a slot per core."""

    replicas: int
    cores: int

    @property
    def total_cores(self) -> int:
        """Return the cores of all replicas."""
        return self.replicas * self.cores


@dataclass(frozen=True, slots=True)
class Parts:
    """Shares of a time, with the sum 1: the event loop with the network, the wait for a core, and the model."""

    http: float
    queue: float
    model: float

    @property
    def largest(self) -> str:
        """Return the name of the largest part."""
        return max(("model", "http", "queue"), key=lambda name: getattr(self, name))


@dataclass(frozen=True, slots=True)
class Forecast:
    """What to expect. `refused` is a share of the requests, the latencies are those of the others.

    `processor` is where the processor time goes, and `slow` where the time of the slowest hundredth of the requests
    goes. `model_share` and `loop_share` say how much of their time the cores run the model, and the event loops work.
    """

    layout: Layout
    rps: float
    p50_ms: float
    p99_ms: float
    refused: float
    model_share: float
    loop_share: float
    processor: Parts
    slow: Parts
    memory_mb: float

    @property
    def core_hours_per_million(self) -> float:
        """Return the core-hours that are paid for a million answers, if the load never changes."""
        answered = self.rps * (1 - self.refused)
        return self.layout.total_cores / answered * 1e6 / 3600 if answered else math.inf


def forecast(
    load: Load,
    costs: Costs,
    layout: Layout,
    limits: Limits | None = None,
    *,
    beside_ms: float = 0.0,
    overloaded: bool = False,
) -> Forecast:
    """Simulate a load. Equal arguments give equal forecasts.

    `beside_ms`: see `Work`. If the replicas may be `overloaded`, the simulation is longer, and shows the refusals and
    the waits after the queues have grown.
    """
    limits = limits or Limits()
    requests, skipped = (_LONGER * REQUESTS, (_LONGER - 1) * REQUESTS) if overloaded else (REQUESTS, _SKIPPED)
    simulated = min(layout.replicas, _MOST_REPLICAS)
    rng = np.random.default_rng(7)
    arrivals_s = np.cumsum(rng.exponential(1.0, requests)) / (load.rps * simulated / layout.replicas)
    tokens = np.array(load.lengths.draw(requests, rng))
    tokens[rng.random(requests) < load.hit_rate] = 0
    parts = costs.depths.draw(requests, rng)
    cost = costs.model
    policies = [
        ServicePolicy(
            cost,
            limits.max_batch_size,
            limits.max_batch_tokens,
            skips_padding=limits.skips_padding,
            parts=costs.depths.costs,
        )
        for _ in range(simulated)
    ]
    result = Simulation(
        policies,
        cost,
        slots=layout.cores,
        work=Work(costs.request_ms, costs.hit_ms, costs.extra_ms, beside_ms),
        max_wait_ms=limits.max_wait_ms,
        delays_ms=costs.delays_ms,
    ).run(tokens.tolist(), parts=parts, arrivals_s=arrivals_s.tolist(), skip=skipped)
    latency_ms = result.latency_ms if len(result.latency_ms) else np.array([math.inf])
    p50_ms, p99_ms = (float(np.percentile(latency_ms, percent)) for percent in (50, _SLOW_PERCENT))
    busy = (result.loop_share, 0.0, result.model_share * layout.cores)
    return Forecast(
        layout,
        load.rps,
        p50_ms,
        p99_ms,
        result.refused_share,
        result.model_share,
        result.loop_share,
        _parts(*busy),
        _slow(result, p99_ms),
        costs.memory_mb * layout.replicas,
    )


def _slow(result: Result, p99_ms: float) -> Parts:
    slow = result.latency_ms >= p99_ms
    if not slow.any():
        return _parts(0.0, 0.0, 0.0)
    return _parts(*(float(part[slow].mean()) for part in (result.loop_ms, result.queue_ms, result.run_ms)))


def _parts(http: float, queue: float, model: float) -> Parts:
    whole = http + queue + model
    return Parts(http / whole, queue / whole, model / whole) if 0 < whole < math.inf else Parts(0.0, 1.0, 0.0)
