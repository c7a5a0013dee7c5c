"""What the machine can do at most: the bare model by size of batch, its tokenizer, HTTP with nothing behind it."""

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from app.cpu import usable_cores
from perf.load.bare import Bare, Ids
from perf.load.server import load, running
from perf.load.texts import sentences

SIZES = (1, 4, 8, 16, 32)
HTTP = {"plain ASGI": ("perf.profile.layers:plain",), "typed FastAPI": ("--factory", "perf.profile.layers:typed")}


def bare(seconds: float) -> dict[str, float]:
    """Texts per second of batches of like lengths, by size, and of mixed ones; milliseconds of one text alone."""
    model = Bare()
    texts = sentences(2048)
    started_s = time.perf_counter()
    ids = model.encode(texts)
    found = {"tokenize_ms": (time.perf_counter() - started_s) * 1000 / len(texts)}
    by_length = sorted(ids, key=len)
    model.texts_per_s(_batches(ids, 8), seconds)  # warm
    for size in SIZES:
        found[f"batch_{size}"] = model.texts_per_s(_shuffled(_batches(by_length, size)), seconds)
    found["mixed_32"] = model.texts_per_s(_batches(ids, 32), seconds)
    found["best"] = max(found[f"batch_{size}"] for size in SIZES)
    return found | {"alone_ms": alone_ms(model)}


def best_per_s(seconds: float) -> float:
    """Texts per second of batches of like lengths, of the sizes that are the best ones."""
    model = Bare()
    by_length = sorted(model.encode(sentences(2048)), key=len)
    model.texts_per_s(_batches(by_length, 8), 0.5)  # warm
    return max(model.texts_per_s(_shuffled(_batches(by_length, size)), seconds / 2) for size in (8, 16))


def alone_ms(model: Bare | None = None) -> float:
    """Milliseconds that a text alone takes, tokenised and run: the median."""
    model = model or Bare()
    alone = []
    for text in sentences(400):
        started_s = time.perf_counter()
        model.run(model.encode([text]))
        alone.append((time.perf_counter() - started_s) * 1000)
    return statistics.median(alone)


def http(seconds: int, connections: int = 32) -> dict[str, dict[str, float]]:
    """Requests per second of servers that compute nothing, and processor time of a request, the client's included."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        bodies = write(Path(folder) / "bodies", sentences(5000))
        for name in HTTP:
            spent_s = []
            for loaded in (False, True):  # what a start takes is taken off
                before_s = _spent_s()
                with running(command(name)) as address:
                    run = load(address, bodies, connections, seconds) if loaded else None
                spent_s.append(_spent_s() - before_s)
            assert run
            found[name] = {"rate": run["rate"], "cpu_ms": (spent_s[1] - spent_s[0]) * 1000 / run["requests"]}
    return found


def command(name: str) -> list[str]:
    """What starts one of these servers."""
    return [sys.executable, "-m", "uvicorn", *HTTP[name], "--no-access-log", "--log-level", "warning", "--port"]


def together_per_s(best_per_s: float, tokenize_ms: float, http_cpu_ms: float) -> float:
    """Requests per second when all cores do nothing but run the model, tokenise, and speak HTTP at both ends."""
    cores = usable_cores()
    return 1000 * cores / (1000 * cores / best_per_s + tokenize_ms + http_cpu_ms)


def write(file: Path, texts: Sequence[str]) -> Path:
    """Write a body for each text, one a line, as `load` reads them."""
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return file


def _batches(ids: Sequence[Ids], size: int) -> list[Sequence[Ids]]:
    return [ids[start : start + size] for start in range(0, len(ids), size)]


def _shuffled(batches: list[Sequence[Ids]]) -> list[Sequence[Ids]]:
    """In an order in which no thread has all the short ones."""
    return [batch for start in range(17) for batch in batches[start::17]]


def _spent_s() -> float:
    """Processor time of all children that have ended, and of theirs."""
    spent = os.times()
    return spent.children_user + spent.children_system
