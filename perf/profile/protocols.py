"""`python -m perf.profile.protocols`: requests per second of other protocols, relative to those of `/predict`.

The same texts, one or a list per request, go to one server by each protocol. The sides take turns, and the ratio of
each round counts. Without the cache, the model takes most of the time; with it, the protocol does.
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from perf.load.server import running
from perf.load.texts import sentences
from perf.load.wrk import require_wrk, run_wrk, write_bodies

_MODEL = "sentiment-en"


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
    for _ in range(rounds):
        for name, (path, _) in sides.items():
            figures = run_wrk(address, files[name], connections, seconds, path)
            if figures["failed"]:
                sys.exit(f"{name}: {figures['failed']:.0f} requests failed")
            rates[name].append(figures["rate"])
    for name, own in rates.items():
        ratios = [rate / ours for rate, ours in zip(own, rates["ours"], strict=True)]
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        print(
            f"{sides[name][0]:32}{statistics.median(own):10.0f}{statistics.median(ratios):8.2f}   ({spread})",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m perf.profile.protocols", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="of each side in a round")
    parser.add_argument("--connections", type=int, default=16)
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
