"""Our service and the peers under the same load: same model file, same texts, one server at a time on all cores."""

import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from app.cpu import usable_cores
from perf.load.openloop import Phase, offer
from perf.load.server import PROCESSES, running
from perf.load.texts import of_length, sentences
from perf.load.wrk import run_wrk, write_bodies
from perf.peers.catalogue import PEERS, Peer
from perf.peers.environment import python

OURS, WORKERS = "rt-sentiment", "rt-sentiment, workers"
OWN = (OURS, WORKERS)
DEADLINE_MS = 1000  # later responses do not count as goodput


def _serve(workers: int) -> tuple[str, ...]:
    return ("-m", "app", "serve", "--cache-entries", "0", "--workers", str(workers), "--port")


SERVERS = {
    # The default settings with as many processes as the load needs, and one worker per core.
    OURS: Peer(OURS, (), _serve(PROCESSES)),
    WORKERS: Peer(WORKERS, (), _serve(usable_cores())),
} | PEERS
TEXTS: dict[str, Callable[[int], list[str]]] = {
    "16 tokens": lambda number: of_length(number, 16),
    "64 tokens": lambda number: of_length(number, 64),
    "128 tokens": lambda number: of_length(number, 128),
    "sentences": sentences,
}
_WARMUP_S = 2

Row = dict[str, Any]


@contextmanager
def serving(name: str) -> Iterator[str]:
    """Start a server, warm it up with texts of all lengths and yield its address."""
    peer = SERVERS[name]
    interpreter = python(peer) if peer.requirements else sys.executable
    with running(
        lambda port: peer.command(interpreter, port),
        path=peer.path,
        body=peer.body("good"),
        environment=peer.environment,
    ) as address:
        for kind in TEXTS:
            _measure_closed(address, name, kind, connections=8, seconds=_WARMUP_S)
        yield address


def closed_loop(name: str, connections: Sequence[int], kinds: Sequence[str], seconds: int) -> Iterator[Row]:
    """Measure requests/s and latency for each number of connections, each with one request at a time."""
    with serving(name) as address:
        for kind in kinds:
            for number in connections:
                yield _measure_closed(address, name, kind, number, seconds)


def open_loop(name: str, rates_per_s: Sequence[float], seconds: float) -> Iterator[Row]:
    """Measure latency and goodput for each rate of independent requests."""
    peer = SERVERS[name]
    bodies = [json.dumps(peer.body(text)).encode() for text in sentences(30_000)]
    with serving(name) as address:
        for rate_per_s in rates_per_s:
            sample = offer(address, bodies, [Phase(rate_per_s, seconds)], path=peer.path, processes=PROCESSES)
            answered = sample.with_status(200)
            yield {
                "server": name,
                "offered_per_s": len(sample) / seconds,
                "goodput_per_s": len(answered.within(DEADLINE_MS)) / seconds,
                "p50_ms": answered.percentile(50),
                "p99_ms": answered.percentile(99),
                "not_answered": len(sample) - len(answered),
                "generator_p99_ms": float(np.percentile(sample.late_ms, 99)),
            }


def _measure_closed(address: str, name: str, kind: str, connections: int, seconds: int) -> Row:
    peer = SERVERS[name]
    with tempfile.TemporaryDirectory() as folder:
        bodies = write_bodies(Path(folder) / "bodies", map(peer.body, TEXTS[kind](30_000)))
        figures = run_wrk(address, bodies, connections, seconds, path=peer.path)
    return {"server": name, "texts": kind, "connections": connections} | figures
