"""`python -m perf.profile.revisions BEFORE AFTER`: two working trees of the service, measured in turns.

Prints requests/s and processor time per request for cached texts (32 connections) and for different texts without a
cache (1, 8 and 64 connections). The machine's speed changes, so only the ratios count: the median over the rounds.

    git worktree add ../before v0.1.0
    python -m perf.profile.revisions ../before .
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from perf.load.metrics import scrape
from perf.load.server import running
from perf.load.texts import sentences
from perf.load.wrk import require_wrk, run_wrk, write_bodies

_CACHED_TEXTS = 100
# name, connections, whether texts come from the cache
_LOADS = (("cached, 32 connections", 32, True), *((f"different, {count}", count, False) for count in (1, 8, 64)))


@contextmanager
def serving(tree: Path, *, cached: bool) -> Iterator[str]:
    """Run the service of a working tree and yield its address."""
    entries = "10000" if cached else "0"
    # -P: the modules come from the tree, not from the current folder.
    command = [sys.executable, "-P", "-m", "app", "serve", "--cache-entries", entries, "--port"]
    with running(command, environment={"PYTHONPATH": str(tree.resolve())}) as address:
        yield address


def measure(address: str, bodies: Path, connections: int, seconds: int) -> tuple[float, float]:
    """Return requests/s and the processor time of a request in microseconds."""
    before_s = scrape(address)["process_cpu_seconds_total"]
    figures = run_wrk(address, bodies, connections, seconds)
    used_s = scrape(address)["process_cpu_seconds_total"] - before_s
    return figures["rate"], used_s / figures["requests"] * 1e6


def compare(trees: Sequence[Path], rounds: int, seconds: int) -> None:
    texts = [{"text": text} for text in sentences(60_000)]
    with tempfile.TemporaryDirectory() as folder:
        different = write_bodies(Path(folder) / "different", texts)
        repeated = write_bodies(Path(folder) / "repeated", texts[:_CACHED_TEXTS])
        print(f"{'':24}{'requests/s':>22}{'ratio':>8}{'µs of processor time':>26}")
        for name, connections, cached in _LOADS:
            bodies = repeated if cached else different
            with ExitStack() as servers:
                addresses = [servers.enter_context(serving(tree, cached=cached)) for tree in trees]
                for address in addresses:
                    measure(address, bodies, 8, 2)  # warm-up
                results = [
                    [measure(address, bodies, connections, seconds) for address in addresses] for _ in range(rounds)
                ]
            ratio = statistics.median(after[0] / before[0] for before, after in results)
            rates, times_us = zip(*((_median(results, 0, of), _median(results, 1, of)) for of in (0, 1)), strict=True)
            shown = f"{rates[0]:10.0f} → {rates[1]:8.0f} {ratio:8.2f} {times_us[0]:13.0f} → {times_us[1]:8.0f}"
            print(f"{name:24}{shown}", flush=True)


def _median(results: Sequence[Sequence[tuple[float, float]]], figure: int, tree: int) -> float:
    return statistics.median(result[tree][figure] for result in results)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m perf.profile.revisions",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("trees", nargs=2, type=Path, metavar="TREE", help="a working tree; the first is the reference")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=4, help="of each measurement")
    args = parser.parse_args()
    require_wrk()
    compare(args.trees, args.rounds, args.seconds)


if __name__ == "__main__":
    main()
