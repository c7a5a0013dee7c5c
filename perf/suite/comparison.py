"""Ours and the others: the same model file, the same texts, one server at a time on all cores, the load beside it."""

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
from perf.load.server import PROCESSES, load, running
from perf.load.texts import of_length, sentences
from perf.peers.catalogue import PEERS, Peer
from perf.peers.environment import python

OURS, WORKERS = "rt-sentiment", "rt-sentiment, workers"
OWN = (OURS, WORKERS)
DEADLINE_MS = 1000  # an answer that takes longer is no good


def _ours(workers: int) -> tuple[str, ...]:
    return ("-m", "app", "serve", "--cache-entries", "0", "--workers", str(workers), "--port")


SERVERS = {
    # As it comes, but with as many processes as one event loop each can keep busy; and with one a core.
    OURS: Peer(OURS, (), _ours(PROCESSES)),
    WORKERS: Peer(WORKERS, (), _ours(usable_cores())),
} | PEERS
TEXTS: dict[str, Callable[[int], list[str]]] = {
    "16 tokens": lambda number: of_length(number, 16),
    "64 tokens": lambda number: of_length(number, 64),
    "128 tokens": lambda number: of_length(number, 128),
    "sentences": sentences,
}
_WARM_S = 2

Row = dict[str, Any]


@contextmanager
def serving(name: str) -> Iterator[str]:
    """Start a server, warm it up with the texts of all lengths, yield its address."""
    peer = SERVERS[name]
    interpreter = python(peer) if peer.requirements else sys.executable
    with running(
        lambda port: peer.command(interpreter, port),
        path=peer.path,
        body=peer.body("good"),
        environment=peer.environment,
    ) as address:
        for kind in TEXTS:
            _closed(address, name, kind, connections=8, seconds=_WARM_S)
        yield address


def closed(name: str, connections: Sequence[int], kinds: Sequence[str], seconds: int) -> Iterator[Row]:
    """Callers that ask again when they are answered: requests/s and latency, for each number of them."""
    with serving(name) as address:
        for kind in kinds:
            for number in connections:
                yield _closed(address, name, kind, number, seconds)


def opened(name: str, rates_per_s: Sequence[float], seconds: float) -> Iterator[Row]:
    """Callers that know nothing of each other: latency, and answers in time, for each rate at which they come."""
    peer = SERVERS[name]
    bodies = [json.dumps(peer.body(text)).encode() for text in sentences(30_000)]
    with serving(name) as address:
        for rate_per_s in rates_per_s:
            found = offer(address, bodies, [Phase(rate_per_s, seconds)], path=peer.path, processes=PROCESSES)
            answered = found.answered(200)
            yield {
                "server": name,
                "offered_per_s": len(found) / seconds,
                "goodput_per_s": len(answered.within(DEADLINE_MS)) / seconds,
                "p50_ms": answered.percentile(50),
                "p99_ms": answered.percentile(99),
                "not_answered": len(found) - len(answered),
                "generator_p99_ms": float(np.percentile(found.late_ms, 99)),
            }


def _closed(address: str, name: str, kind: str, connections: int, seconds: int) -> Row:
    peer = SERVERS[name]
    with tempfile.TemporaryDirectory() as folder:
        bodies = Path(folder) / "bodies"
        bodies.write_text("".join(json.dumps(peer.body(text)) + "\n" for text in TEXTS[kind](30_000)))
        found = load(address, bodies, connections, seconds, path=peer.path)
    return {"server": name, "texts": kind, "connections": connections} | found
