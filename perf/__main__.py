"""`make perf`: measure the model, HTTP, the service and six other servers in one run on one machine.

Writes perf.json, perf.txt (the printed tables) and plots to a directory. Use `--parts` to run only some of it.
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
from perf.load.http_only import TYPED
from perf.load.server import PROCESSES
from perf.load.wrk import require_wrk
from perf.peers.catalogue import PEERS
from perf.peers.environment import InstallError, install
from perf.suite import ceiling, comparison, report, service, turns
from perf.suite.comparison import OURS, SERVERS, TEXTS

PARTS = {
    "bare": "the bare model",
    "http": "HTTP without a model",
    "closed": "all servers in a closed loop",
    "open": "all servers in an open loop; needs closed",
    "turns": "the service and its references, in turn",
    "overload": "goodput and recovery, as in make overload",
    "service": "long lists, several processes, start",
}
_CONNECTIONS = (1, 8, 32, 64)
_SHARES = (0.25, 0.5, 0.75, 0.9, 1.1, 1.5)  # of our requests/s in the closed loop

Results = dict[str, Any]


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(prog="python -m perf", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/perf"), help="directory (%(default)s)")
    parser.add_argument(
        "--parts",
        nargs="+",
        choices=tuple(PARTS),
        default=tuple(PARTS),
        metavar="PART",
        help="; ".join(f"{name}: {description}" for name, description in PARTS.items()),
    )
    parser.add_argument("--servers", nargs="+", choices=tuple(SERVERS), default=tuple(SERVERS))
    parser.add_argument("--texts", nargs="+", choices=tuple(TEXTS), default=tuple(TEXTS))
    parser.add_argument("--seconds", type=int, default=5, help="duration of the load for each figure (%(default)s)")
    parser.add_argument(
        "--rounds", type=int, default=2, help="rounds of the closed loop; the medians are reported (%(default)s)"
    )
    args = parser.parse_args()
    _check_requirements(args)

    args.out.mkdir(parents=True, exist_ok=True)
    results: Results = {"date": f"{datetime.now(UTC):%Y-%m-%d}", "machine": _machine(), "cores": usable_cores()}
    for name, measure in _measurements(args, results).items():
        if name in args.parts:
            results |= measure()
            # Written after each part, so that a later failure does not lose earlier results. orjson writes NaN as null.
            (args.out / "perf.json").write_bytes(orjson.dumps(results, option=orjson.OPT_INDENT_2))
    text = report.text(results)
    (args.out / "perf.txt").write_text(text)
    report.draw(results, args.out)
    print(text)


def _check_requirements(args: argparse.Namespace) -> None:
    """Exit early if wrk or nginx is missing, or if a peer cannot be installed."""
    require_wrk()
    try:
        if "service" in args.parts:
            find()
        for name in args.servers:
            if name in PEERS:
                install(PEERS[name])
    except (NginxError, InstallError) as error:
        sys.exit(str(error))


def _measurements(args: argparse.Namespace, results: Results) -> dict[str, Callable[[], Results]]:
    """The parts, in the order in which they run. They run one at a time, because each needs all cores."""
    seconds = args.seconds
    return {
        "bare": lambda: {"bare": ceiling.bare(seconds)},
        "http": lambda: _http(seconds, results),
        "closed": lambda: {"closed": _closed_loop(args)},
        "open": lambda: {"open": _open_loop(args, results)},
        "turns": lambda: {"turns": turns.measure(seconds)},
        "overload": lambda: {"overload": overload.measure(seconds, processes=PROCESSES)},
        "service": lambda: _service(seconds),
    }


def _http(seconds: int, results: Results) -> Results:
    http = ceiling.http(seconds)
    if "bare" not in results:
        return {"http": http}
    bare, http_ms = results["bare"], http[TYPED]["cpu_ms"]
    return {"http": http, "together_per_s": ceiling.together_per_s(bare["best"], bare["tokenize_ms"], http_ms)}


def _closed_loop(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure the servers in turn. Returns the median of each figure over the rounds, and the sum of the failures."""
    runs: dict[tuple[str, str, int], list[dict[str, Any]]] = {}
    cells = len(_CONNECTIONS) * len(args.texts)
    with tqdm(total=args.rounds * len(args.servers) * cells, unit="figure", disable=None) as bar:
        for name in [*args.servers] * args.rounds:
            bar.set_description(name)
            try:
                for row in comparison.closed_loop(name, _CONNECTIONS, args.texts, args.seconds):
                    runs.setdefault((name, row["texts"], row["connections"]), []).append(row)
                    bar.update()
            except SystemExit as failure:  # if one server does not start, measure the others
                tqdm.write(f"{name}: {failure}")
    figures = ("rate", "p50_ms", "p95_ms", "p99_ms")
    return [
        rows[0]
        | {figure: statistics.median(row[figure] for row in rows) for figure in figures}
        | {figure: sum(row[figure] for row in rows) for figure in ("requests", "seconds", "failed")}
        for rows in runs.values()
    ]


def _open_loop(args: argparse.Namespace, results: Results) -> list[dict[str, Any]]:
    """Measure all servers at the same rates, which are shares of our highest rate in the closed loop."""
    max_per_s = max((row["rate"] for row in results.get("closed", ()) if row["server"] == OURS), default=0)
    if not max_per_s:
        sys.exit(f"the part open needs the rate of {OURS} in the part closed: add closed to --parts")
    rows = []
    for name in tqdm(args.servers, unit="server", disable=None):
        try:
            rows += comparison.open_loop(name, [share * max_per_s for share in _SHARES], args.seconds)
        except SystemExit as failure:
            tqdm.write(f"{name}: {failure}")
    return rows


def _service(seconds: int) -> Results:
    return {
        "beside_lists": service.beside_lists(2 * seconds),
        "processes": service.several_processes(seconds),
        "start": service.start(),
        "imports": service.heavy_imports(),
    }


def _machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


if __name__ == "__main__":
    main()
