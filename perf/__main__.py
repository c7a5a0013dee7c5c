"""`make perf`: the ceiling, the HTTP layer, our service and the others, in one run on one machine.

Writes `perf.json`, what was printed as `perf.txt`, and plots into a directory. A part of it: `--parts bare closed`.
"""

import argparse
import statistics
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from tqdm import tqdm

from app.cpu import usable_cores
from nginx.proxy import NginxError, find
from perf import overload
from perf.load.server import PROCESSES, wrk_or_exit
from perf.peers.catalogue import PEERS
from perf.peers.environment import InstallError, install
from perf.suite import alone, ceiling, comparison, report, turns
from perf.suite.comparison import OURS, SERVERS, TEXTS

PARTS = ("bare", "http", "closed", "open", "turns", "overload", "alone")
_CONNECTIONS = (1, 8, 32, 64)
_SHARES = (0.25, 0.5, 0.75, 0.9, 1.1, 1.5)  # of what ours does with 64 connections


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m perf", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/perf"))
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--servers", nargs="+", choices=tuple(SERVERS), default=tuple(SERVERS))
    parser.add_argument("--texts", nargs="+", choices=tuple(TEXTS), default=tuple(TEXTS))
    parser.add_argument("--seconds", type=int, default=5, help="of load for each figure")
    parser.add_argument("--rounds", type=int, default=2, help="in which the servers take turns; medians count")
    args = parser.parse_args()
    wrk_or_exit()
    if "alone" in args.parts:
        try:
            find()
        except NginxError as error:
            sys.exit(str(error))
    for name in args.servers:
        if name in PEERS:
            try:
                install(PEERS[name])
            except InstallError as error:
                sys.exit(str(error))
    args.out.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {"date": f"{datetime.now(UTC):%Y-%m-%d}", "machine": _machine(), "cores": usable_cores()}
    for name, work in _parts(args, found).items():
        if name in args.parts:
            found |= work()
            # NaN becomes null. After each part: what was measured for an hour is not lost to what comes then.
            (args.out / "perf.json").write_bytes(orjson.dumps(found, option=orjson.OPT_INDENT_2))
    text = report.text(found)
    (args.out / "perf.txt").write_text(text)
    report.draw(found, args.out)
    print(text)


def _parts(args: argparse.Namespace, found: dict[str, Any]) -> dict[str, Callable[[], dict[str, Any]]]:
    """What is measured, in this order: one after the other, as nothing else may have the cores meanwhile."""
    seconds = args.seconds
    return {
        "bare": lambda: {"bare": ceiling.bare(seconds)},
        "http": lambda: _http(seconds, found),
        "closed": lambda: {"closed": _closed(args)},
        "open": lambda: {"open": _opened(args, found)},
        "turns": lambda: {"turns": turns.measure(seconds)},
        "overload": lambda: {"overload": overload.measure(seconds, processes=PROCESSES)},
        "alone": lambda: _alone(seconds),
    }


def _http(seconds: int, found: dict[str, Any]) -> dict[str, Any]:
    alone = ceiling.http(seconds)
    if "bare" not in found:
        return {"http": alone}
    bare, http_ms = found["bare"], alone["typed FastAPI"]["cpu_ms"]
    return {"http": alone, "together_per_s": ceiling.together_per_s(bare["best"], bare["tokenize_ms"], http_ms)}


def _closed(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Rounds in which the servers take turns; the median of each figure, and of what failed the sum."""
    runs: dict[tuple[str, str, int], list[dict[str, Any]]] = {}
    cells = len(_CONNECTIONS) * len(args.texts)
    with tqdm(total=args.rounds * len(args.servers) * cells, unit="figure", disable=None) as bar:
        for name in [*args.servers] * args.rounds:
            bar.set_description(name)
            try:
                for row in comparison.closed(name, _CONNECTIONS, args.texts, args.seconds):
                    runs.setdefault((name, row["texts"], row["connections"]), []).append(row)
                    bar.update()
            except SystemExit as failure:  # one that does not start is no reason to lose the others
                tqdm.write(f"{name}: {failure}")
    figures = ("rate", "p50_ms", "p95_ms", "p99_ms")
    return [
        rows[0]
        | {figure: statistics.median(row[figure] for row in rows) for figure in figures}
        | {figure: sum(row[figure] for row in rows) for figure in ("requests", "seconds", "failed")}
        for rows in runs.values()
    ]


def _opened(args: argparse.Namespace, found: dict[str, Any]) -> list[dict[str, Any]]:
    """All servers at shares of what ours does with as many callers as ever."""
    most_per_s = max((row["rate"] for row in found.get("closed", ()) if row["server"] == OURS), default=0)
    if not most_per_s:
        sys.exit(f"the part open goes by what {OURS} does in the part closed: measure that too")
    rows = []
    for name in tqdm(args.servers, unit="server", disable=None):
        try:
            rows += comparison.opened(name, [share * most_per_s for share in _SHARES], args.seconds)
        except SystemExit as failure:
            tqdm.write(f"{name}: {failure}")
    return rows


def _alone(seconds: int) -> dict[str, Any]:
    return {
        "beside_lists": alone.beside_lists(2 * seconds),
        "side_by_side": alone.side_by_side(seconds),
        "start": alone.start(),
        "imports": sorted(alone.imports()),
    }


def _machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


if __name__ == "__main__":
    main()
