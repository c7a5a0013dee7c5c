"""`make overload`: goodput under more load than the service can handle, and how fast it recovers afterwards.

Increasing request rates are sent in an open loop, and each request has a deadline. Goodput is the rate of successful
responses within the deadline. Then comes three times the best goodput and, without a pause, a rate that the service can
easily handle. The load generator runs on one half of the cores and the service on the other half, so that a higher load
takes no processor time from the service.
"""

import argparse
import json
import os
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from perf.load.bare_model import BareModel
from perf.load.metrics import scrape
from perf.load.openloop import Phase, Sample, offer
from perf.load.server import running
from perf.load.texts import sentences

SHARES = (0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.25, 1.5)  # of the bare model's texts/s
OVERLOAD = 3  # times the best goodput
EASY = 0.5  # of the best goodput
WINDOW_S = 0.25
ROUNDS = 3


def main() -> None:
    """Measure, print and plot."""
    parser = argparse.ArgumentParser(prog="python -m perf.overload", description=__doc__)
    parser.add_argument("--seconds", type=float, default=8, help="duration of each rate")
    parser.add_argument("--deadline-ms", type=float, default=1000, help="deadline of each request")
    parser.add_argument("--processes", type=int, default=1, help="number of load generator processes")
    parser.add_argument("--out", type=Path, help="directory for overload.json and overload.png")
    parser.add_argument("--shares", type=float, nargs="+", default=SHARES, help="rates, as shares of the bare model's")
    args = parser.parse_args()

    results = measure(args.seconds, args.deadline_ms, args.processes, args.shares)
    print(f"at {OVERLOAD} times the best goodput, {results['kept']:.0%} of the goodput is left")
    print(f"for each second of the service's processor time, {results['kept_per_core']:.0%} is left")
    print(f"recovered {results['recovery_s']:.2f} s after the overload: 95% of requests within 3 times the normal p99")
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        # orjson writes NaN as null.
        (args.out / "overload.json").write_bytes(orjson.dumps(results, option=orjson.OPT_INDENT_2))
        _draw(results["rates"], args.out / "overload.png")


def measure(
    seconds: float, deadline_ms: float = 1000, processes: int = 1, shares: Sequence[float] = SHARES
) -> dict[str, Any]:
    """Send increasing rates and then the overload, and print one row for each.

    Returns the rows, the share of the goodput that is kept under overload, also for each second of the service's
    processor time, and the seconds until recovery.
    """
    cores = sorted(os.sched_getaffinity(0))
    half = max(1, len(cores) // 2)
    bodies = [json.dumps({"text": text}).encode() for text in sentences(60_000)]
    headers = {"X-Request-Timeout-Ms": f"{deadline_ms:.0f}"}
    rows: list[dict[str, float]] = []
    os.sched_setaffinity(0, cores[:half])  # the service inherits it
    try:
        model = BareModel()
        bare_per_s = model.texts_per_s([[ids] for ids in model.encode(sentences(500))], seconds=3)
        del model
        print(f"bare model: {bare_per_s:.0f} texts/s on {half} of {len(cores)} cores", file=sys.stderr)
        with running([sys.executable, "-m", "app", "serve", "--cache-entries", "0", "--port"]) as address:
            os.sched_setaffinity(0, cores[half:] or cores)

            def load(*phases: Phase) -> Sample:
                return offer(address, bodies, phases, headers=headers, processes=processes, seed=len(rows))

            def add(rate_per_s: float) -> dict[str, float]:
                before_s = scrape(address)["process_cpu_seconds_total"]
                sample = load(Phase(rate_per_s, seconds))
                spent_s = scrape(address)["process_cpu_seconds_total"] - before_s
                rows.append(_row(sample, seconds, deadline_ms, spent_s))
                _print(rows)
                return rows[-1]

            load(Phase(0.4 * bare_per_s, 3))  # warm up
            for share in shares:
                add(share * bare_per_s)
            best_per_s = max(row["goodput_per_s"] for row in rows)
            best = max(rows, key=lambda row: row["goodput_per_s"])
            kept, kept_per_core = [], []
            for _ in range(ROUNDS):  # the reference is measured again: the speed of the machine may have changed
                reference, overloaded = add(best["offered_per_s"]), add(OVERLOAD * best_per_s)
                kept.append(overloaded["goodput_per_s"] / reference["goodput_per_s"])
                kept_per_core.append(overloaded["goodput_per_core"] / reference["goodput_per_core"])
            normal = load(Phase(EASY * best_per_s, seconds))
            overload = load(Phase(OVERLOAD * best_per_s, seconds), Phase(EASY * best_per_s, 6))
    finally:
        os.sched_setaffinity(0, cores)
    return {
        "rates": rows,
        "kept": statistics.median(kept),
        "kept_per_core": statistics.median(kept_per_core),
        "recovery_s": recovery(overload.during(seconds, np.inf), seconds, 3 * normal.percentile(99)),
        "deadline_ms": deadline_ms,
    }


def recovery(after: Sample, from_s: float, limit_ms: float) -> float:
    """Seconds from `from_s` until every later window has 95 % of its requests answered within `limit_ms`."""
    bad = after.due_s[(after.status != 200) | (after.latency_ms > limit_ms)]
    edges = np.arange(from_s, after.due_s.max() + WINDOW_S, WINDOW_S)
    total_per_window, bad_per_window = np.histogram(after.due_s, edges)[0], np.histogram(bad, edges)[0]
    slow = np.flatnonzero(bad_per_window > 0.05 * total_per_window)
    return float((slow[-1] + 1) * WINDOW_S) if len(slow) else 0.0


def _row(sample: Sample, seconds: float, deadline_ms: float, spent_s: float) -> dict[str, float]:
    good, refused = sample.with_status(200).within(deadline_ms), sample.with_status(429)
    return {
        "offered_per_s": len(sample) / seconds,
        "goodput_per_s": len(good) / seconds,
        "goodput_per_core": len(good) / spent_s,  # for each second of the service's processor time
        "p50_ms": good.percentile(50),
        "p99_ms": good.percentile(99),
        "refused": len(refused),
        "refused_p99_ms": refused.percentile(99),
        "late": len(sample) - len(good) - len(refused),  # 504, answered too late, or not at all
        "generator_p99_ms": float(np.percentile(sample.late_ms, 99)),
    }


_COLUMNS = {
    "offered_per_s": "offered/s",
    "goodput_per_s": "goodput/s",
    "goodput_per_core": "goodput per core",
    "p50_ms": "p50 ms",
    "p99_ms": "p99 ms",
    "refused": "refused",
    "refused_p99_ms": "refusals p99 ms",
    "late": "too late",
    "generator_p99_ms": "generator delay p99 ms",
}


def _print(rows: list[dict[str, float]]) -> None:
    if len(rows) == 1:
        print("".join(f"{title:>{len(title) + 3}}" for title in _COLUMNS.values()))
    cells = (f"{rows[-1][name]:.1f}" if "ms" in name else f"{rows[-1][name]:.0f}" for name in _COLUMNS)
    print(
        "".join(f"{cell:>{len(title) + 3}}" for cell, title in zip(cells, _COLUMNS.values(), strict=True)), flush=True
    )


def _draw(rows: list[dict[str, float]], file: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    rows = sorted(rows, key=lambda row: row["offered_per_s"])
    offered = [row["offered_per_s"] for row in rows]
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
    left.plot(offered, offered, color="lightgrey", label="offered rate")
    left.plot(offered, [row["goodput_per_s"] for row in rows], marker="o", label="goodput")
    left.set(
        xlabel="offered requests/s", ylabel="requests/s", ylim=(0, 1.6 * max(row["goodput_per_s"] for row in rows))
    )
    right.plot(offered, [row["p99_ms"] for row in rows], marker="o", label="predictions, p99")
    right.plot(offered, [row["p50_ms"] for row in rows], marker="o", label="predictions, p50")
    right.plot(offered, [row["refused_p99_ms"] for row in rows], marker="o", label="refusals (429), p99")
    right.set(xlabel="offered requests/s", ylabel="latency, ms", yscale="log")
    right.yaxis.set_major_formatter("{x:g}")
    for axes in (left, right):
        axes.legend(frameon=False)
    figure.savefig(file, dpi=120)


if __name__ == "__main__":
    main()
