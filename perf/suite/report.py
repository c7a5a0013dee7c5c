"""What a run of `make perf` found: tables as text, and plots."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from perf.suite.ceiling import SIZES
from perf.suite.comparison import OURS, OWN
from perf.suite.targets import TARGETS

Found = dict[str, Any]


def text(found: Found) -> str:
    """All tables."""
    parts = [f"{found['date']}, {found['cores']} cores of: {found['machine']}"]
    if "bare" in found:
        bare = found["bare"]
        cells = [f"{size:>9}" for size in SIZES] + [f"{'32 mixed':>10}"]
        rates = [f"{bare[f'batch_{size}']:9.0f}" for size in SIZES] + [f"{bare['mixed_32']:10.0f}"]
        parts.append(
            f"The bare model, texts/s by size of batch, like lengths together\n{''.join(cells)}\n{''.join(rates)}\n"
            f"a text alone, tokenised and run: {bare['alone_ms']:.2f} ms (p50); tokenised: {bare['tokenize_ms']:.3f} ms"
        )
    if "http" in found:
        lines = [f"{name:16}{run['rate']:9.0f}{run['cpu_ms']:14.3f}" for name, run in found["http"].items()]
        parts.append("\n".join(["HTTP alone, 32 connections: requests/s, ms of processor a request", *lines]))
    if "together_per_s" in found:
        parts.append(f"model, tokenizer and HTTP together allow {found['together_per_s']:.0f} requests/s")
    parts += [_closed(found["closed"], kind) for kind in _in_order(found.get("closed", ()), "texts")]
    if "open" in found:
        parts.append(_open(found["open"]))
    if "beside_lists" in found:
        beside = found["beside_lists"]
        parts.append(
            "Single texts, 20 a second, p50 and p99 ms: "
            f"{beside['before_p50_ms']:.1f} {beside['before_p99_ms']:.1f}; "
            "beside one caller's lists of 256 texts of 512 tokens: "
            f"{beside['beside_p50_ms']:.1f} {beside['beside_p99_ms']:.1f}"
        )
        ways = found["side_by_side"].items()
        parts.append("Requests/s, 64 connections: " + "; ".join(f"{name} {per_s:.0f}" for name, per_s in ways))
    parts.append("\n".join(target.verdict(found) for target in TARGETS))
    return "\n\n".join(parts) + "\n"


def _in_order(rows: Sequence[dict[str, Any]], column: str) -> list[Any]:
    return list(dict.fromkeys(row[column] for row in rows))


def _closed(rows: Sequence[dict[str, Any]], kind: str) -> str:
    rows = [row for row in rows if row["texts"] == kind]
    numbers = _in_order(rows, "connections")
    cells = {(row["server"], row["connections"]): row for row in rows}
    lines = [
        f"Unique texts, {kind}, callers that ask again when they are answered: requests/s (beside ours), p50, p95 ms",
        f"{'connections':22}" + "".join(f"{number:>34}" for number in numbers),
    ]
    for name in _in_order(rows, "server"):
        line = f"{name:22}"
        for number in numbers:
            row, ours = cells[name, number], cells.get((OURS, number))
            beside = f"({row['rate'] / ours['rate']:.2f})" if ours and ours["rate"] else ""
            failed = "!" if row["failed"] else " "
            line += f"{row['rate']:11.0f} {beside:>6}{row['p50_ms']:7.1f}{row['p95_ms']:7.1f} {failed}"
        lines.append(line)
    return "\n".join(lines)


def _open(rows: Sequence[dict[str, Any]]) -> str:
    title = "Unique sentences that come at random: offered/s, answered within a second/s, p50, p99 ms, not answered"
    columns = {"offered_per_s": 9.0, "goodput_per_s": 9.0, "p50_ms": 10.1, "p99_ms": 10.1, "not_answered": 9.0}
    lines = [f"{title}, sent late (p99 ms)"]
    for row in rows:
        cells = "".join(f"{row[name]:{width}f}" for name, width in columns.items())
        lines.append(f"{row['server']:22}{cells}{row['generator_p99_ms']:9.1f}")
    return "\n".join(lines)


def draw(found: Found, folder: Path) -> None:
    """Plot latency against throughput, and what is answered in time against what is offered."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    if "closed" in found:
        rows = [row for row in found["closed"] if row["texts"] == "sentences"] or found["closed"]
        figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
        for name in _in_order(rows, "server"):
            own = [row for row in rows if row["server"] == name]
            style = {"linewidth": 2.5} if name in OWN else {"alpha": 0.8}
            axes.plot([row["rate"] for row in own], [row["p95_ms"] for row in own], marker="o", label=name, **style)
        axes.set(xlabel="requests/s, 1 to 64 connections", ylabel="p95, ms", yscale="log")
        axes.legend(frameon=False)
        figure.savefig(folder / "throughput.png", dpi=120)
    if "open" in found:
        rows = found["open"]
        figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
        for name in _in_order(rows, "server"):
            own = [row for row in rows if row["server"] == name]
            offered = [row["offered_per_s"] for row in own]
            style = {"linewidth": 2.5} if name in OWN else {"alpha": 0.8}
            left.plot(offered, [row["goodput_per_s"] for row in own], marker="o", label=name, **style)
            right.plot(offered, [row["p99_ms"] for row in own], marker="o", label=name, **style)
        left.set(xlabel="requests/s offered", ylabel="answered within a second, requests/s")
        right.set(xlabel="requests/s offered", ylabel="p99 of answers, ms", yscale="log")
        left.legend(frameon=False)
        figure.savefig(folder / "open.png", dpi=120)
