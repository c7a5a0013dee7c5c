"""`python -m perf.profile.blocked`: how long single callbacks block the event loop.

Runs the service on asyncio's own event loop and times each callback in milliseconds of the thread's processor time, so
that waiting for a core or for the interpreter lock does not count. For each kind of load it prints the number of
callbacks and the longest ones. A thread that only reads the clock measures in real time how long it waited for the
interpreter lock and for a callback of its own. Exits with 1 if a callback took longer than 5 ms, or if that thread
waited longer than a second for one of them, for which a busy machine alone is not the reason.
"""

import argparse
import asyncio
import heapq
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import uvicorn

from app.cli import main as command
from perf.load.hostile import hostile_texts
from perf.load.lists import LIST_SIZE
from perf.load.metrics import scrape
from perf.load.server import running
from perf.load.texts import of_length, sentences
from perf.load.wrk import require_wrk, run_wrk

LIMIT_MS = 5.0  # a longer callback delays other requests noticeably
MAX_LATE_MS = 1000.0
_SHOWN = 3
_POLL_S = 0.1


def main() -> None:
    """Run each load and print the longest callbacks."""
    parser = argparse.ArgumentParser(prog="python -m perf.profile.blocked", description=__doc__)
    parser.add_argument("--seconds", type=int, default=5, help="duration of each load (%(default)s)")
    parser.add_argument("--serve", type=int, metavar="PORT", help="internal: run the service that is measured")
    args = parser.parse_args()
    if args.serve:
        _serve(args.serve)
        return
    require_wrk()
    longest_ms = late_ms = 0.0
    for name, (path, bodies, connections) in _loads().items():
        results = _measure(path, bodies, connections, args.seconds)
        longest = results["longest"]
        longest_ms = max(longest_ms, longest[0][0])
        times = ", ".join(f"{ms:.1f} ms" for ms, _ in longest)
        print(f"{name:34}{results['callbacks']:>9} callbacks, longest {times}")
        print(f"{'':34}{', '.join(callback for _, callback in longest)}")
        print(f"{'':34}lock late by {results['lock_ms']:.0f} ms, event loop by {results['loop_ms']:.0f} ms")
        late_ms = max(late_ms, results["loop_ms"])
    if late_ms > MAX_LATE_MS:
        sys.exit(f"the event loop was late by {late_ms:.0f} ms")
    sys.exit(f"a callback took longer than {LIMIT_MS:g} ms" if longest_ms > LIMIT_MS else 0)


def _loads() -> dict[str, tuple[str, Sequence[str], int]]:
    """Path, bodies and number of connections of each kind of load."""
    single, many = "/predict", "/predict/batch"
    short, long = sentences(40 * LIST_SIZE), of_length(2 * LIST_SIZE, 512)

    def lists(texts: Sequence[str], size: int) -> list[str]:
        return [json.dumps({"texts": texts[at : at + size]}) for at in range(0, len(texts), size)]

    hostile, hostile_short = (
        [
            f"{number} {text}"
            for number in range(8)
            for name, text in hostile_texts(chars).items()
            if name != "surrogates"
        ]
        for chars in (9_990, 1_990)
    )
    many_tokens = [f"{number} {'!?.' * 3300}" for number in range(200)]
    invalid = [json.dumps({"texts": [1] * LIST_SIZE}), '{"texts": [' * 500, '"' * 10_000]
    return {
        "single texts": (single, [json.dumps({"text": text}) for text in short], 64),
        "single texts of 512 tokens": (single, [json.dumps({"text": text}) for text in long], 8),
        f"lists of {LIST_SIZE} sentences": (many, lists(short, LIST_SIZE), 4),
        f"lists of {LIST_SIZE} texts of 512 tokens": (many, lists(long, LIST_SIZE), 2),
        "single hostile texts": (single, [json.dumps({"text": text}) for text in hostile_short + hostile], 16),
        "lists of hostile texts": (many, _hostile_lists(hostile), 4),
        "lists of 200 texts, 4 000 windows": (many, [json.dumps({"texts": many_tokens, "long_text": "window"})], 1),
        "invalid bodies": (many, invalid, 8),
    }


def _hostile_lists(texts: Sequence[str]) -> list[str]:
    """Partial lists, so that a text that is refused does not end the work on its list, and short ones between them."""
    lists = [[f"{part} {text}" for text in texts[part::8]] for part in range(8)] + [
        [f"good {n}", "bad"] for n in range(8)
    ]
    return [json.dumps({"texts": part, "partial": True}) for part in lists]


def _measure(path: str, bodies: Sequence[str], connections: int, seconds: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        report, file = Path(folder) / "report.json", Path(folder) / "bodies"
        file.write_text("".join(f"{body}\n" for body in bodies))
        environment = {"SENTIMENT_CACHE_ENTRIES": "0", "BLOCKED_REPORT": str(report)}
        with running([sys.executable, "-m", "perf.profile.blocked", "--serve"], environment=environment) as address:
            report.touch()
            time.sleep(3 * _POLL_S)
            run_wrk(address, file, connections, seconds, path=path)
            scrape(address)
            time.sleep(3 * _POLL_S)
        results: dict[str, Any] = json.loads(report.read_text())
        return results


def _serve(port: int) -> None:
    """Run the service and time each callback from the moment the report file exists."""
    longest: list[tuple[float, str]] = []
    callbacks = 0
    loop: asyncio.AbstractEventLoop | None = None
    late = {"lock_ms": 0.0, "loop_ms": 0.0}
    original = asyncio.Handle._run  # noqa: SLF001 - asyncio has no public hook for callbacks

    def timed(handle: asyncio.Handle) -> None:
        nonlocal callbacks, loop
        loop = asyncio.get_running_loop()
        name = _name(handle)
        started_s = time.thread_time()
        original(handle)
        took_ms = (time.thread_time() - started_s) * 1000
        callbacks += 1
        if len(longest) < _SHOWN or took_ms > longest[0][0]:
            put = heapq.heappush if len(longest) < _SHOWN else heapq.heapreplace
            put(longest, (took_ms, name))

    def report() -> None:
        nonlocal callbacks
        file = Path(os.environ["BLOCKED_REPORT"])
        partial = file.with_suffix(".partial")
        while not file.exists():
            time.sleep(_POLL_S)
        longest.clear()
        callbacks = 0
        late.update(lock_ms=0.0, loop_ms=0.0)
        while True:
            time.sleep(_POLL_S)
            results = {"callbacks": callbacks, "longest": sorted(longest, reverse=True), **late}
            partial.write_text(json.dumps(results))
            partial.replace(file)  # in one step: the process may be stopped at any time

    def read_clock() -> None:
        called = threading.Event()
        while True:
            before_s = time.perf_counter()
            time.sleep(0.001)
            woken_s = time.perf_counter()
            late["lock_ms"] = max(late["lock_ms"], (woken_s - before_s) * 1000 - 1)
            if loop:
                called.clear()
                loop.call_soon_threadsafe(called.set)
                called.wait()
                late["loop_ms"] = max(late["loop_ms"], (time.perf_counter() - woken_s) * 1000)

    asyncio.Handle._run = timed  # type: ignore[attr-defined]  # noqa: SLF001
    # uvloop runs its callbacks in C, where they cannot be timed.
    uvicorn.config.LOOP_FACTORIES["auto"] = uvicorn.config.LOOP_FACTORIES["asyncio"]
    threading.Thread(target=report, daemon=True).start()
    threading.Thread(target=read_clock, daemon=True).start()
    command(["serve", "--port", str(port)])


def _name(handle: asyncio.Handle) -> str:
    callback = handle._callback  # type: ignore[attr-defined]  # noqa: SLF001
    owner = getattr(callback, "__self__", None)
    if isinstance(owner, asyncio.Task):
        coroutine = owner.get_coro()
        cycle = coroutine.cr_frame.f_locals.get("self") if coroutine.cr_frame else None
        return f"{coroutine.__qualname__} {getattr(cycle, 'scope', {}).get('path', '')}".rstrip()
    return str(getattr(callback, "__qualname__", type(callback).__name__))


if __name__ == "__main__":
    main()
