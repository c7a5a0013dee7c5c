"""Our service and its references, measured in turn, so that changes in the machine's speed affect both.

Each round measures the bare model, our service under each kind of load that a target uses, and the plain ASGI function,
directly one after the other. Each target then takes the median of its ratio over the rounds.
"""

import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from tqdm import tqdm

from perf.load import http_only
from perf.load.lists import LIST_SIZE, lists_per_s
from perf.load.openloop import Phase, offer
from perf.load.server import PROCESSES, running
from perf.load.texts import sentences
from perf.load.wrk import run_wrk, write_bodies
from perf.suite import ceiling

_SERVE = (sys.executable, "-m", "app", "serve")
_CACHED_TEXTS = 100  # different texts for the cache test; all of them fit into the cache

Figures = dict[str, float]


def measure(seconds: int, rounds: int = 3) -> list[Figures]:
    """Return the figures of each round.

    - `alone_ms`, `best_per_s`: the bare model, with one text alone and with the best batch size
    - `requests_per_s`: unique texts, 64 connections
    - `one_p50_ms`: unique texts, one connection
    - `half_p99_ms`: open loop at half of `requests_per_s`
    - `lists_per_s`: texts per second in lists of 256
    - `hits_per_s`, `plain_per_s`: the cache and the plain ASGI function, 32 connections
    """
    texts = sentences(60_000)
    bodies = [json.dumps({"text": text}).encode() for text in texts]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as servers:
        unique = write_bodies(Path(folder) / "unique", ({"text": text} for text in texts))
        repeated = write_bodies(Path(folder) / "repeated", ({"text": text} for text in texts[:_CACHED_TEXTS]))
        lists = [json.dumps({"texts": part}).encode() for part in _parts(texts)]
        ours = servers.enter_context(running([*_SERVE, "--cache-entries", "0", "--port"]))
        caching = servers.enter_context(running([*_SERVE, "--port"]))
        plain = servers.enter_context(running(http_only.command(http_only.PLAIN)))
        run_wrk(ours, unique, 8, 3)  # warm up
        lists_per_s(ours, lists, 2)
        run_wrk(caching, repeated, 8, 2)

        def half_load_p99_ms(figures: Figures) -> float:
            phase = Phase(figures["requests_per_s"] / 2, seconds)
            return offer(ours, bodies, [phase], processes=PROCESSES).with_status(200).percentile(99)

        measurements: dict[str, Callable[[Figures], float]] = {
            "best_per_s": lambda _: ceiling.best_per_s(seconds),
            "requests_per_s": lambda _: run_wrk(ours, unique, 64, seconds)["rate"],
            "lists_per_s": lambda _: LIST_SIZE * lists_per_s(ours, lists, seconds),
            "alone_ms": lambda _: ceiling.alone_ms(),
            "one_p50_ms": lambda _: run_wrk(ours, unique, 1, seconds)["p50_ms"],
            "half_p99_ms": half_load_p99_ms,
            "plain_per_s": lambda _: run_wrk(plain, repeated, 32, seconds)["rate"],
            "hits_per_s": lambda _: run_wrk(caching, repeated, 32, seconds)["rate"],
        }
        results: list[Figures] = []
        with tqdm(total=rounds * len(measurements), unit="figure", disable=None) as bar:
            for _ in range(rounds):
                figures: Figures = {}
                results.append(figures)
                for name, measurement in measurements.items():
                    bar.set_description(name)
                    figures[name] = measurement(figures)
                    bar.update()
    return results


def median_ratio(rounds: Sequence[Figures], ratio: Callable[[Figures], float]) -> float:
    return statistics.median(map(ratio, rounds))


def _parts(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    return (texts[start : start + LIST_SIZE] for start in range(0, len(texts) - LIST_SIZE, LIST_SIZE))
