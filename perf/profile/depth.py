"""`python -m perf.profile.depth`: what early exits gain, at several numbers of connections, in turns.

Every text is different, and the cache is off. Each ratio compares a service with exits to one that runs all layers, in
the same round; the median of all rounds is shown. `full, again` is a second service that runs all layers. It shows how
exact the ratios are.
The figures are requests per second and, for a machine that does other things as well, requests per second of processor
time of the service, and p50.
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from perf.load.metrics import scrape
from perf.load.server import running
from perf.load.texts import sentences
from perf.load.wrk import require_wrk, run_wrk, write_bodies

# No request is refused or given up, however busy the machine is: refusals would be another load.
_SETTINGS = {"SENTIMENT_MAX_WAIT_MS": "600000", "SENTIMENT_REQUEST_TIMEOUT_MS": "600000"}
_SERVE = (sys.executable, "-m", "app", "serve")
_SIDES = {"full": "full", "full, again": "full", "auto": "auto"}
_FIGURES = ("requests/s", "requests/s of processor", "p50, ms")


def _measure(model: str, texts: Sequence[str], connections: Sequence[int], seconds: int, rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        bodies = write_bodies(Path(folder) / "bodies", ({"text": text} for text in texts))
        servers = {
            side: stack.enter_context(
                running(
                    [*_SERVE, "--model", model, "--depth", depth, "--cache-entries", "0", "--port"],
                    environment=_SETTINGS,
                )
            )
            for side, depth in _SIDES.items()
        }
        print(f"{'':36}{'full':>12}" + "".join(f"{side:>12}" for side in [*_SIDES][1:]))
        for number in connections:
            rows: dict[str, list[tuple[float, ...]]] = {side: [] for side in _SIDES}
            for turn in range(rounds + 1):
                for side in [*_SIDES][:: -1 if turn % 2 else 1]:
                    figures = _figures(servers[side], bodies, number, seconds)
                    if turn:  # the first turn is warm-up
                        rows[side].append(figures)
            for place, name in enumerate(_FIGURES):
                full = [each[place] for each in rows["full"]]
                ratios = [
                    statistics.median(own[place] / of_all for own, of_all in zip(rows[side], full, strict=True))
                    for side in [*_SIDES][1:]
                ]
                shown = "".join(f"{ratio:12.3f}" for ratio in ratios)
                print(f"{f'{number} connections, {name}':36}{statistics.median(full):12.1f}{shown}", flush=True)


def _figures(address: str, bodies: Path, connections: int, seconds: int) -> tuple[float, float, float]:
    before_s = scrape(address)["process_cpu_seconds_total"]
    load = run_wrk(address, bodies, connections, seconds)
    spent_s = scrape(address)["process_cpu_seconds_total"] - before_s
    return load["rate"], load["rate"] * load["seconds"] / spent_s, load["p50_ms"]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m perf.profile.depth", description=__doc__)
    parser.add_argument("--model", required=True, help="a model with exits")
    parser.add_argument("--texts", type=Path, help="a file with one text per line (default: synthetic sentences)")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 8, 32, 64])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4, help="duration of each load (%(default)s)")
    args = parser.parse_args()
    require_wrk()
    texts = args.texts.read_text().splitlines() if args.texts else sentences(60_000)
    _measure(args.model, texts, args.connections, args.seconds, args.rounds)


if __name__ == "__main__":
    main()
