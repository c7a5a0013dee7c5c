"""What the service is meant to reach, each as a ratio of figures of one run."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from perf.suite.ceiling import together_per_s
from perf.suite.comparison import OWN
from perf.suite.turns import typical

Found = dict[str, Any]


@dataclass(frozen=True)
class Target:
    """What is wanted of a figure of a run of `make perf`."""

    says: str
    figure: Callable[[Found], float]
    limit: float
    at_most: bool = False

    def verdict(self, found: Found) -> str:
        """The figure beside its limit, and whether it holds."""
        try:
            figure = self.figure(found)
        except (KeyError, TypeError, ValueError, StopIteration, ZeroDivisionError):  # not asked for, or it failed
            return f"not measured   {self.says}"
        good = figure <= self.limit if self.at_most else figure >= self.limit
        wanted = f"{'at most' if self.at_most else 'at least'} {self.limit:g}"
        return f"{'reached' if good else 'MISSED ':8} {figure:8.2f}  {wanted:14} {self.says}"


def rate(found: Found, server: str, connections: int, kind: str = "sentences", figure: str = "rate") -> float:
    """A figure of the closed loop."""
    return next(
        float(row[figure])
        for row in found["closed"]
        if (row["server"], row["connections"], row["texts"]) == (server, connections, kind)
    )


def _best(found: Found, *, own: bool) -> float:
    servers = {row["server"] for row in found["closed"]}
    return max(rate(found, server, 64) for server in servers if (server in OWN) == own)


def _together(found: Found, turn: dict[str, float]) -> float:
    http_ms = found["http"]["typed FastAPI"]["cpu_ms"]
    return together_per_s(turn["best_per_s"], found["bare"]["tokenize_ms"], http_ms)


TARGETS: Sequence[Target] = (
    Target(
        "unique texts, 64 connections: the better of ours, times the requests/s of the best of the others",
        lambda found: _best(found, own=True) / _best(found, own=False),
        2.0,
    ),
    Target(
        "the same: share of what model, tokenizer and HTTP allow together, both ends on these cores",
        lambda found: typical(found["turns"], lambda turn: turn["requests_per_s"] / _together(found, turn)),
        0.8,
    ),
    Target(
        "one connection: p50, less 0.3 ms, as a multiple of tokenising and one bare run",
        lambda found: typical(found["turns"], lambda turn: (turn["one_p50_ms"] - 0.3) / turn["alone_ms"]),
        1.15,
        at_most=True,
    ),
    Target(
        "open loop at half of saturation: p99 as a multiple of one bare text",
        lambda found: typical(found["turns"], lambda turn: turn["half_p99_ms"] / turn["alone_ms"]),
        5,
        at_most=True,
    ),
    Target("three times what it can do: goodput beside the best", lambda found: found["overload"]["kept"], 0.95),
    Target(
        "the same: p99 of refusals, ms",
        lambda found: found["overload"]["rates"][-1]["refused_p99_ms"],
        20,
        at_most=True,
    ),
    Target("the same: seconds until all is well again", lambda found: found["overload"]["recovery_s"], 2, at_most=True),
    Target(
        "answers from the cache: share of a plain ASGI function's requests/s",
        lambda found: typical(found["turns"], lambda turn: turn["hits_per_s"] / turn["plain_per_s"]),
        0.6,
    ),
    Target(
        "lists of 256 texts: share of the bare model's texts/s at its best batch size",
        lambda found: typical(found["turns"], lambda turn: turn["lists_per_s"] / turn["best_per_s"]),
        0.9,
    ),
    Target(
        "one replica a core behind nginx: times one process on all cores",
        lambda found: found["side_by_side"]["replicas behind nginx"] / found["side_by_side"]["one process"],
        1.0,
    ),
    Target("seconds from the command to the first answer", lambda found: found["start"]["ready_s"], 2, at_most=True),
    Target("MB of memory then", lambda found: found["start"]["resident_mb"], 250, at_most=True),
    Target("heavy packages that serving imports", lambda found: len(found["imports"]), 0, at_most=True),
)
