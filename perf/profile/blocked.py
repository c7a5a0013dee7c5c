"""`python -m perf.profile.blocked`: how long our Python keeps the event loop from everyone else.

The service runs on asyncio's own loop, whose callbacks are timed one by one, in milliseconds of processor time of the
loop's thread, so that waiting for a core or for the interpreter is not counted as work. Under each kind of load: how
many callbacks there were, the longest of them, and what it was.
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
from perf.load.server import direct, load, running, wrk_or_exit
from perf.load.texts import of_length, sentences
from perf.suite.alone import LIST

LIMIT_MS = 5.0  # longer than this, and others notice
_SHOWN = 3
_POLL_S = 0.1


def main() -> None:
    """Put each load on the service in turn and print what it found; exit with 1 when a callback was over the limit."""
    parser = argparse.ArgumentParser(prog="python -m perf.profile.blocked", description=__doc__)
    parser.add_argument("--seconds", type=int, default=5, help="of each load (%(default)s)")
    parser.add_argument("--serve", type=int, metavar="PORT", help="be the service that is watched")
    args = parser.parse_args()
    if args.serve:
        _serve(args.serve)
        return
    wrk_or_exit()
    longest = 0.0
    for name, (path, bodies, connections) in _loads().items():
        found = _under(path, bodies, connections, args.seconds)
        top = found["longest"]
        longest = max(longest, top[0][0])
        print(f"{name:34}{found['callbacks']:>9} callbacks, the longest {', '.join(f'{ms:.1f} ms' for ms, _ in top)}")
        print(f"{'':34}{', '.join(name for _, name in top)}")
    sys.exit(f"over {LIMIT_MS:g} ms" if longest > LIMIT_MS else 0)


def _loads() -> dict[str, tuple[str, Sequence[str], int]]:
    """Path, bodies and connections of each kind of load."""
    single, many = "/predict", "/predict/batch"
    short, long = sentences(40 * LIST), of_length(2 * LIST, 512)

    def lists(texts: Sequence[str], size: int) -> list[str]:
        return [json.dumps({"texts": texts[at : at + size]}) for at in range(0, len(texts), size)]

    return {
        "single texts": (single, [json.dumps({"text": text}) for text in short], 64),
        "single texts of 512 tokens": (single, [json.dumps({"text": text}) for text in long], 8),
        f"lists of {LIST} sentences": (many, lists(short, LIST), 4),
        f"lists of {LIST} texts of 512 tokens": (many, lists(long, LIST), 2),
        "bodies that are refused": (many, [json.dumps({"texts": [1] * LIST}), '{"texts": [' * 500, '"' * 10_000], 8),
    }


def _under(path: str, bodies: Sequence[str], connections: int, seconds: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        report, file = Path(folder) / "report.json", Path(folder) / "bodies"
        file.write_text("".join(f"{body}\n" for body in bodies))
        environment = {"SENTIMENT_CACHE_ENTRIES": "0", "BLOCKED_REPORT": str(report)}
        with running([sys.executable, "-m", "perf.profile.blocked", "--serve"], environment=environment) as address:
            report.touch()
            time.sleep(3 * _POLL_S)
            load(address, file, connections, seconds, path=path)
            with direct.open(f"{address}/metrics", timeout=30) as response:
                response.read()
            time.sleep(3 * _POLL_S)
        found: dict[str, Any] = json.loads(report.read_text())
        return found


def _serve(port: int) -> None:
    """Serve, and time every callback from the moment at which the report's file is there."""
    longest: list[tuple[float, str]] = []
    counted = 0
    plain = asyncio.Handle._run  # noqa: SLF001 - there is no other way to see each

    def timed(handle: asyncio.Handle) -> None:
        nonlocal counted
        name = _name(handle)
        started_s = time.thread_time()
        plain(handle)
        took_ms = (time.thread_time() - started_s) * 1000
        counted += 1
        if len(longest) < _SHOWN or took_ms > longest[0][0]:
            put = heapq.heappush if len(longest) < _SHOWN else heapq.heapreplace
            put(longest, (took_ms, name))

    def report() -> None:
        nonlocal counted
        file = Path(os.environ["BLOCKED_REPORT"])
        while not file.exists():
            time.sleep(_POLL_S)
        longest.clear()
        counted = 0
        while True:
            time.sleep(_POLL_S)
            file.write_text(json.dumps({"callbacks": counted, "longest": sorted(longest, reverse=True)}))

    asyncio.Handle._run = timed  # type: ignore[attr-defined]  # noqa: SLF001
    uvicorn.config.LOOP_FACTORIES["auto"] = uvicorn.config.LOOP_FACTORIES["asyncio"]  # uvloop's cannot be watched
    threading.Thread(target=report, daemon=True).start()
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
