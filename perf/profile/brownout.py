"""`python -m perf.profile.brownout --model DIR --data dev.tsv`: answers under overload, without and with brownout.

Two services with the same model take turns at once, two and three times what one can answer. They run on one half of
the cores and the load generator on the other half. *In time* are predictions within the deadline, and *per core* are
those for each second of the service's processor time. Accuracy is the share of predictions with the label of the
text, as served: over all labels of the model.
"""

import argparse
import os
import statistics
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson

from perf.load.metrics import scrape
from perf.load.openloop import Phase, offer
from perf.load.server import running
from training.data import Example, read_all

_FACTORS = (1.0, 2.0, 3.0)
_SERVE = (sys.executable, "-m", "app", "serve", "--cache-entries", "0")


@dataclass(frozen=True, slots=True)
class _Row:
    """What happened under one load. Accuracy is in percent."""

    offered_per_s: float
    in_time_per_s: float
    per_core: float
    refused: float
    shallow: float
    accuracy: float


def main() -> None:
    """Measure, print and plot."""
    parser = argparse.ArgumentParser(prog="python -m perf.profile.brownout", description=__doc__)
    parser.add_argument("--model", required=True, help="a model with exits")
    parser.add_argument("--data", nargs="+", required=True, metavar="FILE", help="labelled texts, which are sent, too")
    parser.add_argument("--brownout-ms", type=float, default=100, help="SENTIMENT_BROWNOUT_MS (%(default)s)")
    parser.add_argument("--deadline-ms", type=float, default=1000, help="deadline of each request (%(default)s)")
    parser.add_argument("--seconds", type=float, default=8, help="duration of each load (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="file for the plot")
    args = parser.parse_args()
    load = _Load(read_all(args.data), args.deadline_ms, args.seconds)
    rows = _measure(args.model, load, args.brownout_ms, args.rounds)
    medians = {
        (factor, side): _Row(
            *(statistics.median(getattr(row, name) for row in rows[factor, side]) for name in _Row.__dataclass_fields__)
        )
        for factor, side in rows
    }
    print(f"{'load':>5}{'brownout':>10}" + "".join(f"{title:>18}" for title in _TITLES))
    for (factor, side), row in medians.items():
        figures = (row.offered_per_s, row.in_time_per_s, row.per_core, row.refused, row.shallow, row.accuracy)
        cells = (f"{value:.{digits}f}" for value, digits in zip(figures, (0, 0, 0, 3, 3, 2), strict=True))
        print(f"{factor:5g}{side:>10}" + "".join(f"{cell:>18}" for cell in cells))
    if args.out:
        _draw(medians, args.out)


_TITLES = ("offered/s", "in time/s", "in time per core", "refused", "shallow", "accuracy, %")


class _Load:
    """Sends the texts to a service, and looks at its answers."""

    def __init__(self, examples: Sequence[Example], deadline_ms: float, seconds: float) -> None:
        self._bodies = [orjson.dumps({"text": example.text}) for example in examples]
        self._expected = [orjson.dumps({"label": example.label})[1:-1] for example in examples]
        self._deadline_ms, self._seconds = deadline_ms, seconds
        self._headers = {"X-Request-Timeout-Ms": f"{deadline_ms:.0f}"}

    def best_per_s(self, address: str) -> float:
        """Return the most requests/s that a service answers in time: the rate rises until it no longer keeps up."""
        best_per_s = 0.0
        for rate_per_s in np.geomspace(100, 5000, 14):
            row = self.offer(address, rate_per_s, seed=0)
            best_per_s = max(best_per_s, row.in_time_per_s)
            if row.in_time_per_s < 0.8 * rate_per_s:
                break
        return best_per_s

    def offer(self, address: str, rate_per_s: float, seed: int) -> _Row:
        before = scrape(address)
        phases = [Phase(rate_per_s, self._seconds)]
        sample = offer(address, self._bodies, phases, headers=self._headers, seed=seed, expected=self._expected)
        after = scrape(address)
        answered = sample.with_status(200)
        in_time = len(answered.within(self._deadline_ms))
        shallow = after.get("sentiment_shallow_total", 0.0) - before.get("sentiment_shallow_total", 0.0)
        return _Row(
            rate_per_s,
            in_time / self._seconds,
            in_time / (after["process_cpu_seconds_total"] - before["process_cpu_seconds_total"]),
            len(sample.with_status(429)) / len(sample),
            shallow / max(1, len(answered)),
            100 * float(answered.right.mean()),
        )


def _measure(model: str, load: _Load, brownout_ms: float, rounds: int) -> Mapping[tuple[float, str], list[_Row]]:
    cores = sorted(os.sched_getaffinity(0))
    half = max(1, len(cores) // 2)
    rows: defaultdict[tuple[float, str], list[_Row]] = defaultdict(list)
    os.sched_setaffinity(0, cores[:half])  # the services inherit it
    try:
        with ExitStack() as stack:
            addresses = {
                side: stack.enter_context(running([*_SERVE, "--model", model, "--brownout-ms", str(limit), "--port"]))
                for side, limit in (("off", 0), ("on", brownout_ms))
            }
            os.sched_setaffinity(0, cores[half:] or cores)
            best_per_s = load.best_per_s(addresses["off"])
            print(f"without brownout, a service answers {best_per_s:.0f} requests/s")
            for turn in range(rounds):
                for factor in _FACTORS:
                    for side in [*addresses][:: -1 if turn % 2 else 1]:
                        rows[factor, side].append(load.offer(addresses[side], factor * best_per_s, seed=turn))
    finally:
        os.sched_setaffinity(0, cores)
    return rows


def _draw(rows: Mapping[tuple[float, str], _Row], file: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, left = plt.subplots(figsize=(6, 3.5), layout="constrained")
    right = left.twinx()
    for side, colour in (("off", "tab:grey"), ("on", "tab:blue")):
        some = [row for (_, own), row in rows.items() if own == side]
        offered = [row.offered_per_s for row in some]
        left.plot(offered, [row.in_time_per_s for row in some], marker="o", color=colour, label=f"brownout {side}")
        right.plot(offered, [row.accuracy for row in some], marker="x", linestyle="--", color=colour)
    left.set(xlabel="offered requests/s", ylabel="predictions in time, requests/s (solid)", ylim=(0, None))
    right.set(ylabel="accuracy, % (dashed)")
    left.legend(frameon=False, loc="lower right")
    figure.savefig(file, dpi=120)


if __name__ == "__main__":
    main()
