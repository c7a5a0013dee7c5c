"""`python -m perf.profile.protocols`: requests per second of other protocols, relative to those of `/predict`.

The same texts, one or a list per request, go to one server by each protocol. The sides take turns, and the ratio of
each round counts. So does that of the server's processor time per request, which depends less on other work on the
machine. Without the cache, the model takes most of the time; with it, the protocol does.
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from perf.load.metrics import scrape
from perf.load.server import running
from perf.load.texts import sentences
from perf.load.wrk import require_wrk, run_wrk, write_bodies

_MODEL = "sentiment-en"
_CPU = "process_cpu_seconds_total"


def _infer(texts: Sequence[str]) -> dict[str, Any]:
    return {"inputs": [{"name": "TEXT", "shape": [len(texts)], "datatype": "BYTES", "data": texts}]}


# path and body, for one text and for a list
_OURS: tuple[tuple[str, Callable[[Sequence[str]], Any]], ...] = (
    ("/predict", lambda texts: {"text": texts[0]}),
    ("/predict/batch", lambda texts: {"texts": texts}),
)
_OTHERS: dict[str, tuple[str, Callable[[Sequence[str]], Any]]] = {
    "Hugging Face": ("/", lambda texts: {"inputs": texts[0] if len(texts) == 1 else texts}),
    "Open Inference": (f"/v2/models/{_MODEL}/infer", _infer),
}


def _compare(address: str, folder: Path, *, size: int, connections: int, rounds: int, seconds: int, count: int) -> None:
    texts = sentences(count)
    lists = [texts[place : place + size] for place in range(0, len(texts), size)]
    sides = {"ours": _OURS[size > 1]} | _OTHERS
    files = {
        name: write_bodies(folder / f"{number}.jsonl", map(body, lists))
        for number, (name, (_, body)) in enumerate(sides.items())
    }
    rates: dict[str, list[float]] = {name: [] for name in sides}
    costs: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, (path, _) in sides.items():
            begun_s = scrape(address)[_CPU]
            figures = run_wrk(address, files[name], connections, seconds, path)
            if figures["failed"] > 0.05 * figures["requests"]:  # on a busy machine a few take longer than wrk waits
                sys.exit(f"{name}: {figures['failed']:.0f} requests failed")
            rates[name].append(figures["rate"])
            costs[name].append((scrape(address)[_CPU] - begun_s) / figures["requests"] * 1e6)
    print(f"{'':32}{'requests/s':>12}{'ratio':>8}{'µs of CPU':>12}{'ratio':>8}")
    for name, (path, _) in sides.items():
        rate, cost = statistics.median(rates[name]), statistics.median(costs[name])
        print(f"{path:32}{rate:12.0f}{_ratio(rates, name):8.2f}{cost:12.0f}{_ratio(costs, name):8.2f}", flush=True)


def _ratio(figures: Mapping[str, Sequence[float]], name: str) -> float:
    return statistics.median(own / ours for own, ours in zip(figures[name], figures["ours"], strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m perf.profile.protocols", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="of each side in a round")
    parser.add_argument("--connections", type=int, default=8)
    args = parser.parse_args()
    require_wrk()
    for cached in (False, True):
        command = [sys.executable, "-m", "app", "serve", "--cache-entries", "10000" if cached else "0", "--port"]
        limits = {"SENTIMENT_MAX_WAIT_MS": "60000", "SENTIMENT_LOG_LEVEL": "warning"}
        with running(command, environment=limits) as address, tempfile.TemporaryDirectory() as folder:
            for size in (1, 16):
                print(f"{'from the cache' if cached else 'from the model'}, texts per request: {size}")
                _compare(
                    address,
                    Path(folder),
                    size=size,
                    connections=args.connections,
                    rounds=args.rounds,
                    seconds=args.seconds,
                    count=160 if cached else 4000,
                )


if __name__ == "__main__":
    main()
