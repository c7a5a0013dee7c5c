"""`make overload`: goodput when more is offered than the machine can answer, and how soon all is well again after it.

Rising rates are offered in an open loop, each request with a deadline; goodput is what is answered within it. Then
three times the best goodput, and, without a pause, a rate that the service is at ease with. The load has half of the
cores to itself, so that more of it takes nothing from the service.
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

from perf.load.bare import Bare
from perf.load.openloop import Phase, Sample, offer
from perf.load.server import running
from perf.load.texts import sentences

SHARES = (0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.25, 1.5)  # of what the bare model does
OVER = 3  # times the best goodput
EASE = 0.5  # of the best goodput
WINDOW_S = 0.25
ROUNDS = 3


def main() -> None:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(prog="python -m perf.overload", description=__doc__)
    parser.add_argument("--seconds", type=float, default=8, help="of each rate")
    parser.add_argument("--deadline-ms", type=float, default=1000, help="of each request")
    parser.add_argument("--processes", type=int, default=1, help="that make the load")
    parser.add_argument("--out", type=Path, help="write overload.json and overload.png into this directory")
    parser.add_argument("--shares", type=float, nargs="+", default=SHARES, help="of the bare model's rate to offer")
    args = parser.parse_args()

    found = measure(args.seconds, args.deadline_ms, args.processes, args.shares)
    print(f"at {OVER} times the best goodput, {found['kept']:.0%} of it is left")
    print(f"after that, 19 of 20 are answered within three times the p99 of before from {found['recovery_s']:.2f} s on")
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        # NaN becomes null.
        (args.out / "overload.json").write_bytes(orjson.dumps(found, option=orjson.OPT_INDENT_2))
        _draw(found["rates"], args.out / "overload.png")


def measure(
    seconds: float, deadline_ms: float = 1000, processes: int = 1, shares: Sequence[float] = SHARES
) -> dict[str, Any]:
    """Offer rising rates; print a row for each; return them, what is left at the last, and the seconds of recovery."""
    cores = sorted(os.sched_getaffinity(0))
    half = max(1, len(cores) // 2)
    bodies = [json.dumps({"text": text}).encode() for text in sentences(60_000)]
    headers = {"X-Request-Timeout-Ms": f"{deadline_ms:.0f}"}
    rows: list[dict[str, float]] = []
    os.sched_setaffinity(0, cores[:half])  # which the service inherits
    try:
        bare = Bare()
        bare_per_s = bare.texts_per_s([[ids] for ids in bare.encode(sentences(500))], seconds=3)
        del bare
        print(f"bare model: {bare_per_s:.0f} texts/s on {half} of {len(cores)} cores", file=sys.stderr)
        with running([sys.executable, "-m", "app", "serve", "--cache-entries", "0", "--port"]) as address:
            os.sched_setaffinity(0, cores[half:] or cores)

            def load(*phases: Phase) -> Sample:
                return offer(address, bodies, phases, headers=headers, processes=processes, seed=len(rows))

            load(Phase(0.4 * bare_per_s, 3))  # warm
            for share in shares:
                rows.append(_row(load(Phase(share * bare_per_s, seconds)), seconds, deadline_ms))
                _print(rows)
            best_per_s = max(row["goodput_per_s"] for row in rows)
            best = max(rows, key=lambda row: row["goodput_per_s"])
            kept = []
            for _ in range(ROUNDS):  # in turns: the machine may have another speed by now
                rows.append(_row(load(Phase(best["offered_per_s"], seconds)), seconds, deadline_ms))
                _print(rows)
                normal = load(Phase(EASE * best_per_s, seconds))
                over = load(Phase(OVER * best_per_s, seconds), Phase(EASE * best_per_s, 6))
                rows.append(_row(over.during(0, seconds), seconds, deadline_ms))
                _print(rows)
                kept.append(rows[-1]["goodput_per_s"] / rows[-2]["goodput_per_s"])
    finally:
        os.sched_setaffinity(0, cores)
    return {
        "rates": rows,
        "kept": statistics.median(kept),
        "recovery_s": recovery(over.during(seconds, np.inf), seconds, 3 * normal.percentile(99)),
        "deadline_ms": deadline_ms,
    }


def recovery(after: Sample, from_s: float, ease_ms: float) -> float:
    """Seconds from `from_s` until all but one in twenty are answered within `ease_ms` in every window from there on."""
    bad = after.due_s[(after.status != 200) | (after.latency_ms > ease_ms)]
    edges = np.arange(from_s, after.due_s.max() + WINDOW_S, WINDOW_S)
    all_of, bad_of = np.histogram(after.due_s, edges)[0], np.histogram(bad, edges)[0]
    slow = np.flatnonzero(bad_of > 0.05 * all_of)
    return float((slow[-1] + 1) * WINDOW_S) if len(slow) else 0.0


def _row(found: Sample, seconds: float, deadline_ms: float) -> dict[str, float]:
    good, refused = found.answered(200).within(deadline_ms), found.answered(429)
    return {
        "offered_per_s": len(found) / seconds,
        "goodput_per_s": len(good) / seconds,
        "p50_ms": good.percentile(50),
        "p99_ms": good.percentile(99),
        "refused": len(refused),
        "refused_p99_ms": refused.percentile(99),
        "late": len(found) - len(good) - len(refused),  # 504, answered too late, or not at all
        "generator_p99_ms": float(np.percentile(found.late_ms, 99)),
    }


_COLUMNS = {
    "offered_per_s": "offered/s", "goodput_per_s": "in time/s", "p50_ms": "their p50 ms", "p99_ms": "p99 ms",
    "refused": "refused", "refused_p99_ms": "their p99 ms", "late": "late", "generator_p99_ms": "sent late, p99 ms",
}  # fmt: skip


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
    left.plot(offered, offered, color="lightgrey", label="offered")
    left.plot(offered, [row["goodput_per_s"] for row in rows], marker="o", label="answered in time")
    left.set(
        xlabel="requests/s offered", ylabel="requests/s", ylim=(0, 1.6 * max(row["goodput_per_s"] for row in rows))
    )
    right.plot(offered, [row["p99_ms"] for row in rows], marker="o", label="answers, p99")
    right.plot(offered, [row["p50_ms"] for row in rows], marker="o", label="answers, p50")
    right.plot(offered, [row["refused_p99_ms"] for row in rows], marker="o", label="refusals, p99")
    right.set(xlabel="requests/s offered", ylabel="ms", yscale="log")
    for axes in (left, right):
        axes.legend(frameon=False)
    figure.savefig(file, dpi=120)


if __name__ == "__main__":
    main()
