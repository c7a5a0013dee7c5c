"""`make bench`: compare requests/s and latency with a plain FastAPI server that runs the same model file.

The servers take turns for several rounds. Each has the machine to itself, except for the load generator (wrk). Compare
the ratios of the medians, not the absolute figures.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from perf.load.server import running
from perf.load.texts import sentences
from perf.load.wrk import median, require_wrk, run_wrk, write_bodies
from perf.peers.catalogue import PEERS

_SERVERS = {
    "rt-sentiment": [sys.executable, "-m", "app", "serve", "--cache-entries", "0", "--port"],
    "tutorial": [sys.executable, *PEERS["tutorial"].arguments],
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m perf.compare", description=__doc__)
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 8, 32, 64])
    parser.add_argument("--seconds", type=int, default=8, help="duration of the load per server, connections and round")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    require_wrk()

    results: dict[tuple[str, int], list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        bodies = write_bodies(Path(folder) / "bodies", ({"text": text} for text in sentences(60_000)))
        for turn in range(args.rounds):
            for name, command in _SERVERS.items():
                with running(command) as address:
                    run_wrk(address, bodies, connections=8, seconds=2)  # warm up
                    for connections in args.connections:
                        figures = run_wrk(address, bodies, connections, args.seconds)
                        results.setdefault((name, connections), []).append(figures)
                        progress = f"  round {turn + 1}/{args.rounds}  {name:13} {connections:3} connections"
                        print(progress, file=sys.stderr)
    print(f"{'':14}" + "".join(f"{f'{number} connections':>34}" for number in args.connections))
    print(f"{'':14}" + f"{'requests/s   p50   p95 ms  failed':>34}" * len(args.connections))
    for name in _SERVERS:
        print(f"{name:14}" + "".join(_cell(results[name, number]) for number in args.connections))
    ours, theirs = _SERVERS
    ratios = (median(results[ours, n], "rate") / median(results[theirs, n], "rate") for n in args.connections)
    print(f"{'ratio':14}" + "".join(f"{f'{ratio:.2f} x':>34}" for ratio in ratios))


def _cell(rounds: list[dict[str, float]]) -> str:
    failed = sum(figures["failed"] for figures in rounds)
    rate, p50, p95 = (median(rounds, figure) for figure in ("rate", "p50_ms", "p95_ms"))
    return f"{f'{rate:.0f} {p50:7.1f} {p95:7.1f} {failed:7.0f}':>34}"


if __name__ == "__main__":
    main()
