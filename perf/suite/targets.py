"""The performance targets. Most of them are ratios of figures from the same run."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from perf.load.http_only import TYPED
from perf.suite.ceiling import together_per_s
from perf.suite.comparison import OWN
from perf.suite.turns import median_ratio

Results = dict[str, Any]


@dataclass(frozen=True)
class Target:
    """A figure from the results of `make perf`, and its limit."""

    description: str
    figure: Callable[[Results], float]
    limit: float
    at_most: bool = False

    def verdict(self, results: Results) -> str:
        """One line with the figure, the limit and whether it is reached."""
        try:
            figure = self.figure(results)
        except (KeyError, TypeError, ValueError, ZeroDivisionError):  # not requested, or it failed
            return f"not measured   {self.description}"
        reached = figure <= self.limit if self.at_most else figure >= self.limit
        limit = f"{'at most' if self.at_most else 'at least'} {self.limit:g}"
        return f"{'reached' if reached else 'MISSED ':8} {figure:8.2f}  {limit:14} {self.description}"


def closed_figure(
    results: Results, server: str, connections: int, kind: str = "sentences", figure: str = "rate"
) -> float:
    """A figure from the closed loop. Raises `KeyError` if it was not measured."""
    rows = {(row["server"], row["connections"], row["texts"]): row for row in results["closed"]}
    return float(rows[server, connections, kind][figure])


def _best_rate(results: Results, *, own: bool) -> float:
    servers = {row["server"] for row in results["closed"]}
    return max(closed_figure(results, server, 64) for server in servers if (server in OWN) == own)


def _together_per_s(results: Results, turn: dict[str, float]) -> float:
    http_ms = results["http"][TYPED]["cpu_ms"]
    return together_per_s(turn["best_per_s"], results["bare"]["tokenize_ms"], http_ms)


TARGETS: Sequence[Target] = (
    Target(
        "unique texts, 64 connections: requests/s of our faster setup / best peer",
        lambda results: _best_rate(results, own=True) / _best_rate(results, own=False),
        2.0,
    ),
    Target(
        "unique texts, 64 connections: requests/s / what model, tokenizer and HTTP allow together",
        lambda results: median_ratio(
            results["turns"], lambda turn: turn["requests_per_s"] / _together_per_s(results, turn)
        ),
        0.8,
    ),
    Target(
        "one connection: (p50 - 0.3 ms) / tokenising and running one text with the bare model",
        lambda results: median_ratio(results["turns"], lambda turn: (turn["one_p50_ms"] - 0.3) / turn["alone_ms"]),
        1.15,
        at_most=True,
    ),
    Target(
        "open loop at half of the maximum rate: p99 / one text with the bare model",
        lambda results: median_ratio(results["turns"], lambda turn: turn["half_p99_ms"] / turn["alone_ms"]),
        5,
        at_most=True,
    ),
    Target("3 times the maximum rate: goodput / best goodput", lambda results: results["overload"]["kept"], 0.95),
    Target(
        "3 times the maximum rate: goodput for each second of processor time / that of the best",
        lambda results: results["overload"]["kept_per_core"],
        0.9,
    ),
    Target(
        "3 times the maximum rate: p99 of refusals, ms",
        lambda results: results["overload"]["rates"][-1]["refused_p99_ms"],
        20,
        at_most=True,
    ),
    Target(
        "3 times the maximum rate: seconds to recover afterwards",
        lambda results: results["overload"]["recovery_s"],
        2,
        at_most=True,
    ),
    Target(
        "cached responses: requests/s / plain ASGI function",
        lambda results: median_ratio(results["turns"], lambda turn: turn["hits_per_s"] / turn["plain_per_s"]),
        0.6,
    ),
    Target(
        "lists of 256 texts: texts/s / bare model at its best batch size",
        lambda results: median_ratio(results["turns"], lambda turn: turn["lists_per_s"] / turn["best_per_s"]),
        0.9,
    ),
    Target(
        "one replica per core behind nginx: requests/s / one process on all cores",
        lambda results: results["processes"]["replicas behind nginx"] / results["processes"]["one process"],
        1.0,
    ),
    Target(
        "seconds from the command to the first response",
        lambda results: results["start"]["ready_s"],
        2,
        at_most=True,
    ),
    Target("resident memory after the start, MB", lambda results: results["start"]["resident_mb"], 250, at_most=True),
    Target(
        "heavy packages imported for serving",
        lambda results: len(results["imports"]),
        0,
        at_most=True,
    ),
)
