"""`python -m perf.profile.capacity`: compares forecasts of `rt-sentiment capacity` with what replicas do.

Measures the costs as that command does, forecasts p50, p99 and throughput of replicas behind nginx, and sends them an
open-loop load. Costs and load take turns, because the speed of a machine changes. The ratios are measured / forecast;
the last lines are their medians. The replicas, nginx and the load generator share the cores, so the forecast counts
what the generator and nginx need, too. Latencies begin when a request is sent, not when it was due: this load is too
low to delay the generator, whose timers are up to a millisecond late. Requests that do not meet show how long the way
through nginx takes. On a busy machine the ratios say little, so the load average is printed, too.
"""

import argparse
import json
import os
import resource
import statistics
import sys
from dataclasses import asdict, replace

import numpy as np

from app.capacity import Costs, Forecast, Layout, Lengths, Load, forecast
from app.cli.capacity.depths import read_depths
from app.cli.capacity.measure import measure
from app.config import load_settings
from app.cpu import usable_cores
from app.inference import Tokenizer
from perf.load.bare_model import FOLDER, MAX_TOKENS
from perf.load.openloop import Phase, Sample, offer
from perf.load.server import running
from perf.load.texts import sentences

_NAMES = ("p50", "p99", "throughput")
_LONE_PER_S, _LONE_S = 12, 4  # requests that do not meet: what the way through nginx and back takes


def main() -> None:
    """Measure, forecast, compare and print."""
    parser = argparse.ArgumentParser(prog="python -m perf.profile.capacity", description=__doc__)
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.3, 0.5, 0.7], help="rates, as shares of the most")
    parser.add_argument("--seconds", type=float, default=12, help="duration of each rate")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--nginx-ms", type=float, default=0.15, help="processor time of nginx per request (%(default)s)"
    )
    parser.add_argument(
        "--mock-delay-ms",
        type=float,
        default=0,
        help="run no model but the mock backend, which sleeps for so long: a busy machine disturbs it less",
    )
    args = parser.parse_args()

    layout = Layout(args.replicas, max(1, usable_cores() // args.replicas))
    texts = sentences(20_000)
    lengths = Lengths([len(each) for each in Tokenizer.load(FOLDER, max_tokens=MAX_TOKENS).encode_many(texts[:2000])])
    bodies = [json.dumps({"text": text}).encode() for text in texts]
    mock = {"backend": "mock", "mock_delay_ms": args.mock_delay_ms} if args.mock_delay_ms else {}
    settings = load_settings(mock)
    depths = read_depths(settings, measured=True)
    environment = {f"SENTIMENT_{name.upper()}": str(value) for name, value in mock.items()} | {
        "SENTIMENT_CACHE_ENTRIES": "0"
    }
    command = [sys.executable, "-m", "nginx.replicas", "--replicas", str(args.replicas), "--port"]
    ratios: dict[float, list[tuple[float, float, float]]] = {share: [] for share in args.shares}
    print(f"{layout.replicas} replicas of {layout.cores} cores, texts of {lengths.mean:.0f} tokens")
    print(
        f"{'share':>6}{'req/s':>8}"
        + "".join(f"{f'{name}: forecast, measured, ratio':>38}" for name in _NAMES)
        + f"{'load':>8}"
    )
    for _ in range(args.rounds):
        costs = replace(measure(settings), depths=depths)
        with running(command, environment=environment) as address:
            generator_ms = _generator_ms(address, bodies)
            rates = {
                share: share * _most_per_s(costs, lengths, layout, generator_ms + args.nginx_ms)
                for share in args.shares
            }
            lone = offer(address, bodies, [Phase(_LONE_PER_S, _LONE_S)]).with_status(200)
            samples = {share: offer(address, bodies, [Phase(rates[share], args.seconds)]) for share in args.shares}
        costs = _mean(costs, measure(settings))
        path_ms = float(np.median(lone.latency_ms - lone.late_ms) - np.median(lengths.alone_ms(costs)))
        costs = replace(costs, extra_ms=costs.extra_ms + max(args.nginx_ms, path_ms))
        print(
            ", ".join(f"{name} {value:.3f}" for name, value in asdict(costs).items() if isinstance(value, float))
            + f", {costs.depths.mean:.0%} of it because of exits, "
            + f"p99 of the delays {costs.delay_p99_ms:.1f} ms"
        )
        for share, sample in samples.items():
            load = Load(rates[share], lengths)
            expected = forecast(load, costs, layout, beside_ms=generator_ms + args.nginx_ms)
            ratios[share].append(_show(share, expected, sample, args.seconds))
    for share, rows in ratios.items():
        medians = (statistics.median(values) for values in zip(*rows, strict=True))
        print(
            f"median at {share:.0%}: "
            + ", ".join(f"{name} {value:.2f}" for name, value in zip(_NAMES, medians, strict=True))
        )


def _show(share: float, expected: Forecast, sample: Sample, seconds: float) -> tuple[float, float, float]:
    answered = sample.with_status(200)
    forecasts = (expected.p50_ms, expected.p99_ms, expected.rps * (1 - expected.refused))
    p50_ms, p99_ms = np.percentile(answered.latency_ms - answered.late_ms, [50, 99])
    measured = (float(p50_ms), float(p99_ms), len(answered) / seconds)
    ratios = (measured[0] / forecasts[0], measured[1] / forecasts[1], measured[2] / forecasts[2])
    cells = (f"{f'{a:.1f}, {b:.1f}, {c:.2f}':>38}" for a, b, c in zip(forecasts, measured, ratios, strict=True))
    print(f"{share:6.0%}{expected.rps:8.0f}" + "".join(cells) + f"{os.getloadavg()[0]:8.1f}", flush=True)
    return ratios


def _most_per_s(costs: Costs, lengths: Lengths, layout: Layout, beside_ms: float) -> float:
    """Return the rate at which all cores would be busy if every text ran alone."""
    each_ms = costs.base_ms + costs.token_ms * lengths.mean * costs.depths.mean + costs.request_ms + beside_ms
    return layout.total_cores * 1000 / each_ms


def _generator_ms(address: str, bodies: list[bytes]) -> float:
    """Return the processor time of the load generator per request, without its start."""
    begun_ms = _children_ms()
    few = offer(address, bodies, [Phase(20, 1)])  # warms up the replicas, too
    between_ms = _children_ms()
    many = offer(address, bodies, [Phase(60, 5)])
    return max(0.0, (_children_ms() - between_ms) - (between_ms - begun_ms)) / max(1, len(many) - len(few))


def _children_ms() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (usage.ru_utime + usage.ru_stime) * 1000


def _mean(a: Costs, b: Costs) -> Costs:
    names = [name for name, value in asdict(a).items() if isinstance(value, float)]
    means = {name: statistics.mean((getattr(a, name), getattr(b, name))) for name in names}
    return replace(a, **means, delays_ms=a.delays_ms + b.delays_ms)


if __name__ == "__main__":
    main()
