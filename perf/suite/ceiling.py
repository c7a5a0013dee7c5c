"""What the machine can do at most: the bare model by batch size, its tokenizer, and HTTP without a model."""

import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from app.cpu import usable_cores
from perf.load import http_only
from perf.load.bare_model import BareModel, Ids
from perf.load.server import running
from perf.load.texts import sentences
from perf.load.wrk import run_wrk, write_bodies

SIZES = (1, 4, 8, 16, 32)


def bare(seconds: float) -> dict[str, float]:
    """Measure the bare model.

    Returns texts per second by batch size with similar lengths in a batch, the best of these, and texts per second in
    batches of 32 mixed lengths; and the milliseconds for one text alone and for tokenising one text.
    """
    model = BareModel()
    texts = sentences(2048)
    started_s = time.perf_counter()
    ids = model.encode(texts)
    figures = {"tokenize_ms": (time.perf_counter() - started_s) * 1000 / len(texts)}
    by_length = sorted(ids, key=len)
    model.texts_per_s(_batches(ids, 8), seconds)  # warm up
    for size in SIZES:
        figures[f"batch_{size}"] = model.texts_per_s(_shuffled(_batches(by_length, size)), seconds)
    figures["mixed_32"] = model.texts_per_s(_batches(ids, 32), seconds)
    figures["best"] = max(figures[f"batch_{size}"] for size in SIZES)
    return figures | {"alone_ms": alone_ms(model)}


def best_per_s(seconds: float) -> float:
    """Texts per second of the bare model with similar lengths in a batch, at the better of the two best batch sizes."""
    model = BareModel()
    by_length = sorted(model.encode(sentences(2048)), key=len)
    model.texts_per_s(_batches(by_length, 8), 0.5)  # warm up
    return max(model.texts_per_s(_shuffled(_batches(by_length, size)), seconds / 2) for size in (8, 16))


def alone_ms(model: BareModel | None = None) -> float:
    """Median milliseconds to tokenise and run one text at a time."""
    model = model or BareModel()
    runs_ms = []
    for text in sentences(400):
        started_s = time.perf_counter()
        model.run(model.encode([text]))
        runs_ms.append((time.perf_counter() - started_s) * 1000)
    return statistics.median(runs_ms)


def http(seconds: int, connections: int = 32) -> dict[str, dict[str, float]]:
    """Measure the two servers without a model: requests/s, and processor time per request including the client's."""
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        bodies = write_bodies(Path(folder) / "bodies", ({"text": text} for text in sentences(5000)))
        for name in (http_only.PLAIN, http_only.TYPED):
            spent_s = []
            for loaded in (False, True):  # the run without load gives the cost of starting, which is subtracted
                before_s = _children_cpu_s()
                with running(http_only.command(name)) as address:
                    figures = run_wrk(address, bodies, connections, seconds) if loaded else None
                spent_s.append(_children_cpu_s() - before_s)
            assert figures
            cpu_ms = (spent_s[1] - spent_s[0]) * 1000 / figures["requests"]
            results[name] = {"rate": figures["rate"], "cpu_ms": cpu_ms}
    return results


def together_per_s(best_per_s: float, tokenize_ms: float, http_cpu_ms: float) -> float:
    """Requests per second if all cores only ran the model, tokenised, and handled HTTP in server and client."""
    cores = usable_cores()
    return 1000 * cores / (1000 * cores / best_per_s + tokenize_ms + http_cpu_ms)


def _batches(ids: Sequence[Ids], size: int) -> list[Sequence[Ids]]:
    return [ids[start : start + size] for start in range(0, len(ids), size)]


def _shuffled(batches: list[Sequence[Ids]]) -> list[Sequence[Ids]]:
    """Mix short and long batches, so that no thread gets only short ones."""
    return [batch for start in range(17) for batch in batches[start::17]]


def _children_cpu_s() -> float:
    """Processor time of all child processes that have ended, and of their children."""
    spent = os.times()
    return spent.children_user + spent.children_system
