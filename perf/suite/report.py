"""The results of `python -m perf` as text tables and plots."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perf.suite.ceiling import SIZES
from perf.suite.comparison import OURS, OWN
from perf.suite.targets import TARGETS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Results = dict[str, Any]


def text(results: Results) -> str:
    """All tables, and the verdict on each target."""
    sections = [f"{results['date']}, {results['cores']} cores of {results['machine']}"]
    if "bare" in results:
        bare = results["bare"]
        cells = [f"{size:>9}" for size in SIZES] + [f"{'32 mixed':>10}"]
        rates = [f"{bare[f'batch_{size}']:9.0f}" for size in SIZES] + [f"{bare['mixed_32']:10.0f}"]
        sections.append(
            f"Bare model, texts/s by batch size, similar lengths in a batch\n{''.join(cells)}\n{''.join(rates)}\n"
            f"one text alone, tokenised and run: {bare['alone_ms']:.2f} ms (p50); "
            f"tokenised only: {bare['tokenize_ms']:.3f} ms"
        )
    if "http" in results:
        lines = [f"{name:16}{run['rate']:9.0f}{run['cpu_ms']:14.3f}" for name, run in results["http"].items()]
        sections.append("\n".join(["HTTP only, 32 connections: requests/s, processor ms per request", *lines]))
    if "together_per_s" in results:
        sections.append(f"Model, tokenizer and HTTP together allow {results['together_per_s']:.0f} requests/s")
    sections += [_closed_loop(results["closed"], kind) for kind in _distinct(results.get("closed", ()), "texts")]
    if "open" in results:
        sections.append(_open_loop(results["open"]))
    if "beside_lists" in results:
        beside = results["beside_lists"]
        sections.append(
            "Single texts, 20 requests/s, p50 and p99 in ms: "
            f"{beside['before_p50_ms']:.1f} {beside['before_p99_ms']:.1f}; "
            "while one client posts lists of 256 texts of 512 tokens: "
            f"{beside['beside_p50_ms']:.1f} {beside['beside_p99_ms']:.1f}"
        )
        processes = results["processes"].items()
        sections.append("Requests/s, 64 connections: " + "; ".join(f"{name} {per_s:.0f}" for name, per_s in processes))
    sections.append("\n".join(["Targets", *(target.verdict(results) for target in TARGETS)]))
    return "\n\n".join(sections) + "\n"


def _distinct(rows: Sequence[dict[str, Any]], column: str) -> list[Any]:
    return list(dict.fromkeys(row[column] for row in rows))


def _closed_loop(rows: Sequence[dict[str, Any]], kind: str) -> str:
    rows = [row for row in rows if row["texts"] == kind]
    numbers = _distinct(rows, "connections")
    cells = {(row["server"], row["connections"]): row for row in rows}
    lines = [
        f"Closed loop, unique texts, {kind}: requests/s (ratio to {OURS}), p50 and p95 in ms, ! if requests failed",
        f"{'connections':22}" + "".join(f"{number:>34}" for number in numbers),
    ]
    for name in _distinct(rows, "server"):
        line = f"{name:22}"
        for number in numbers:
            row, ours = cells[name, number], cells.get((OURS, number))
            ratio = f"({row['rate'] / ours['rate']:.2f})" if ours and ours["rate"] else ""
            failed = "!" if row["failed"] else " "
            line += f"{row['rate']:11.0f} {ratio:>6}{row['p50_ms']:7.1f}{row['p95_ms']:7.1f} {failed}"
        lines.append(line)
    return "\n".join(lines)


_OPEN_COLUMNS = {  # title and format
    "offered_per_s": ("offered/s", ".0f"),
    "goodput_per_s": ("within 1 s/s", ".0f"),
    "p50_ms": ("p50 ms", ".1f"),
    "p99_ms": ("p99 ms", ".1f"),
    "not_answered": ("no prediction", ".0f"),
    "generator_p99_ms": ("generator delay p99 ms", ".1f"),
}


def _open_loop(rows: Sequence[dict[str, Any]]) -> str:
    lines = [
        "Open loop, unique sentences",
        f"{'':22}" + "".join(f"{title:>{len(title) + 3}}" for title, _ in _OPEN_COLUMNS.values()),
    ]
    for row in rows:
        cells = (f"{row[name]:{len(title) + 3}{form}}" for name, (title, form) in _OPEN_COLUMNS.items())
        lines.append(f"{row['server']:22}" + "".join(cells))
    return "\n".join(lines)


_TITLES = {"tutorial": "FastAPI tutorial", "litserve": "LitServe", "bentoml": "BentoML", "ray": "Ray Serve"}


def draw(results: Results, folder: Path) -> None:
    """Plot latency against throughput, and goodput and latency against the offered rate."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    if "closed" in results:
        rows = [row for row in results["closed"] if row["texts"] == "sentences"] or results["closed"]
        figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
        _plot(axes, rows, "rate", "p95_ms")
        axes.set(xlabel="requests/s with 1 to 64 connections", ylabel="p95 latency, ms", yscale="log")
        axes.yaxis.set_major_formatter("{x:g}")
        figure.legend(loc="outside right center", frameon=False)
        figure.savefig(folder / "throughput.png", dpi=120)
    if "open" in results:
        figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
        _plot(left, results["open"], "offered_per_s", "goodput_per_s")
        _plot(right, results["open"], "offered_per_s", "p99_ms")
        left.set(xlabel="offered requests/s", ylabel="predictions within one second, per second")
        right.set(xlabel="offered requests/s", ylabel="p99 latency, ms", yscale="log")
        right.yaxis.set_major_formatter("{x:g}")
        figure.legend(*left.get_legend_handles_labels(), loc="outside right center", frameon=False)
        figure.savefig(folder / "open-loop.png", dpi=120)


def _plot(axes: "Axes", rows: Sequence[dict[str, Any]], x: str, y: str) -> None:
    """Draw one line per server, with our own emphasised."""
    for name in _distinct(rows, "server"):
        own = [row for row in rows if row["server"] == name]
        style = {"linewidth": 2.5} if name in OWN else {"alpha": 0.8}
        label = _TITLES.get(name, name)
        axes.plot([row[x] for row in own], [row[y] for row in own], marker="o", label=label, **style)
