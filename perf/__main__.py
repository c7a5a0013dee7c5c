"""`make perf`: the ceiling, the HTTP layer, our service and the others, in one run on one machine.

Writes `perf.json`, what was printed as `perf.txt`, and plots into a directory. A part of it: `--parts bare closed`.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tqdm import tqdm

from app.cpu import usable_cores
from perf import alone, ceiling, contest, overload, report
from perf.contest import OURS, SERVERS, TEXTS
from perf.load import wrk_or_exit
from perf.peers import PEERS
from perf.peers.environment import InstallError, install

PARTS = ("bare", "http", "closed", "open", "overload", "alone")
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
    for name in args.servers:
        if name in PEERS:
            try:
                install(PEERS[name])
            except InstallError as error:
                sys.exit(str(error))
    args.out.mkdir(parents=True, exist_ok=True)
    found = measure(args)
    (args.out / "perf.json").write_text(json.dumps(found, indent=1) + "\n")
    text = report.text(found)
    (args.out / "perf.txt").write_text(text)
    report.draw(found, args.out)
    print(text)


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Run the parts, one after the other: nothing else may have the cores meanwhile."""
    found: dict[str, Any] = {"date": f"{datetime.now(UTC):%Y-%m-%d}", "machine": _machine(), "cores": usable_cores()}
    seconds = args.seconds
    cells = len(_CONNECTIONS) * len(args.texts)
    with tqdm(total=args.rounds * len(args.servers) * (cells * seconds + 20), unit="s", disable=None) as bar:

        def part(name: str, work: Callable[[], dict[str, Any]]) -> None:
            if name in args.parts:
                bar.set_description(name)
                found.update(work())

        part("bare", lambda: {"bare": ceiling.bare(seconds)})
        part("http", lambda: {"http": ceiling.http(seconds)})
        if {"bare", "http"} <= set(args.parts):
            found["together_per_s"] = ceiling.together_per_s(found["bare"], found["http"]["typed FastAPI"]["cpu_ms"])
        part("closed", lambda: {"closed": _closed(args, bar)})
        if "closed" in args.parts and OURS in args.servers:
            most_per_s = max(row["rate"] for row in found["closed"] if row["server"] == OURS)
            rates = [share * most_per_s for share in _SHARES]
            part(
                "open", lambda: {"open": [row for name in args.servers for row in contest.opened(name, rates, seconds)]}
            )
        part("overload", lambda: {"overload": overload.measure(seconds)})
        part("alone", lambda: _alone(seconds))
    return found


def _closed(args: argparse.Namespace, bar: "tqdm[Any]") -> list[dict[str, Any]]:
    runs: dict[tuple[str, str, int], list[dict[str, Any]]] = {}
    for _ in range(args.rounds):
        for name in args.servers:
            bar.set_description(name)
            for row in contest.closed(name, _CONNECTIONS, args.texts, args.seconds):
                runs.setdefault((name, row["texts"], row["connections"]), []).append(row)
                bar.update(args.seconds)
            bar.update(20)
    return [_median(rows) for rows in runs.values()]


def _median(rows: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The median of each figure; of what failed, the sum."""
    rows = list(rows)
    return {
        name: value if not isinstance(value, float) else statistics.median(row[name] for row in rows)
        for name, value in rows[0].items()
    } | {"failed": sum(row["failed"] for row in rows)}


def _alone(seconds: int) -> dict[str, Any]:
    return {
        "hits_per_s": alone.hits(seconds),
        "lists_per_s": alone.lists(2 * seconds),
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
