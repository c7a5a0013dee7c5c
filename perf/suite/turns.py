"""Ours and what it is held against, in turns: a machine whose speed wanders does so to both.

Each round has the bare model, our service under every kind of load that a target speaks of, and the plain ASGI
function, one right after the other. What counts is the median of the rounds' ratios.
"""

import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from tqdm import tqdm

from perf.load.lists import lists_per_s
from perf.load.openloop import Phase, offer
from perf.load.server import PROCESSES, load, running
from perf.load.texts import sentences
from perf.suite import ceiling

LIST = 256
_SERVE = (sys.executable, "-m", "app", "serve")
_KNOWN = 100  # different texts, of which all are in the cache


def measure(seconds: int, rounds: int = 3) -> list[dict[str, float]]:
    """Return the figures of each round.

    `alone_ms` and `best_per_s` of the bare model; `requests_per_s` at 64 connections; `one_p50_ms` at one;
    `half_p99_ms` of an open loop at half of those requests/s; `lists_per_s`, texts of lists of 256; `hits_per_s` of the
    cache and `plain_per_s` of a plain ASGI function, at 32 connections.
    """
    texts = sentences(60_000)
    bodies = [json.dumps({"text": text}).encode() for text in texts]
    with tempfile.TemporaryDirectory() as folder, ExitStack() as servers:
        unique = ceiling.write(Path(folder) / "unique", texts)
        known = ceiling.write(Path(folder) / "known", texts[:_KNOWN])
        lists = [json.dumps({"texts": part}).encode() for part in _parts(texts)]
        ours = servers.enter_context(running([*_SERVE, "--cache-entries", "0", "--port"]))
        caching = servers.enter_context(running([*_SERVE, "--port"]))
        plain = servers.enter_context(running(ceiling.command("plain ASGI")))
        load(ours, unique, 8, 3)  # warm
        lists_per_s(ours, lists, 2)
        load(caching, known, 8, 2)

        def half(found: dict[str, float]) -> float:
            phase = Phase(found["requests_per_s"] / 2, seconds)
            return offer(ours, bodies, [phase], processes=PROCESSES).answered(200).percentile(99)

        figures: dict[str, Callable[[dict[str, float]], float]] = {
            "best_per_s": lambda _: ceiling.best_per_s(seconds),
            "requests_per_s": lambda _: load(ours, unique, 64, seconds)["rate"],
            "lists_per_s": lambda _: LIST * lists_per_s(ours, lists, seconds),
            "alone_ms": lambda _: ceiling.alone_ms(),
            "one_p50_ms": lambda _: load(ours, unique, 1, seconds)["p50_ms"],
            "half_p99_ms": half,
            "plain_per_s": lambda _: load(plain, known, 32, seconds)["rate"],
            "hits_per_s": lambda _: load(caching, known, 32, seconds)["rate"],
        }
        found: list[dict[str, float]] = []
        with tqdm(total=rounds * len(figures), unit="figure", disable=None) as bar:
            for _ in range(rounds):
                found.append({})
                for name, figure in figures.items():
                    bar.set_description(name)
                    found[-1][name] = figure(found[-1])
                    bar.update()
    return found


def typical(rounds: Sequence[dict[str, float]], ratio: Callable[[dict[str, float]], float]) -> float:
    """The median of a ratio over the rounds."""
    return statistics.median(map(ratio, rounds))


def _parts(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    return (texts[start : start + LIST] for start in range(0, len(texts) - LIST, LIST))
