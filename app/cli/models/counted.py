"""Reads what a server has counted about a version. A figure that is missing, or is none, is unknown."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ...comparison import Latency, Shadow, Share, VersionCounts, mean_of_buckets
from ..exits import WRONG_USAGE, Failure
from ..score.remote import Server, fetch_models


def read_versions(server: Server, names: Sequence[str]) -> list[VersionCounts]:
    """Ask for versions, each as `name@version`. Raises `Failure` if the server does not have one of them."""
    for name in names:
        if "@" not in name.strip("@"):
            raise Failure(f"{name}: with --url, give the version as NAME@VERSION", WRONG_USAGE)
    versions = {
        str(version["version"]): version
        for model in fetch_models(server)["models"]
        for version in model["versions"]
        if version["version"]
    }
    for name in names:
        if name not in versions:
            raise Failure(f"{server.url}: it has no {name}; it has {', '.join(versions) or 'none'}")
    return [counts_of(versions[name]) for name in names]


def counts_of(content: Mapping[str, Any]) -> VersionCounts:
    """Return what a server says about a version."""
    return VersionCounts(
        _count(content.get("requests")),
        _counts(content.get("predictions")),
        _confidence(content.get("confidence")),
        _latency(content.get("latency_ms")),
        _feedback(content.get("feedback")),
        _shadow(content.get("compared")),
    )


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _number(value: object) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if is_number else None  # type: ignore[arg-type]


def _counts(value: object) -> dict[str, int] | None:
    if not isinstance(value, dict):
        return None
    counts = {str(label): count for label, each in value.items() if (count := _count(each)) is not None}
    return counts if len(counts) == len(value) else None


def _feedback(value: object) -> dict[str, dict[str, int]] | None:
    if not isinstance(value, dict):
        return None
    rows = {str(label): row for label, each in value.items() if (row := _counts(each)) is not None}
    return rows if len(rows) == len(value) else None


def _confidence(value: object) -> float | None:
    if not isinstance(value, dict):
        return None
    edges, counts = ([*value[name]] if isinstance(value.get(name), list) else [] for name in ("edges", "counts"))
    valid = all(_number(edge) is not None for edge in edges) and all(_count(count) is not None for count in counts)
    return mean_of_buckets(edges, counts) if valid else None


def _latency(value: object) -> Latency | None:
    if not isinstance(value, dict):
        return None
    p50, p95, p99 = (_number(value.get(name)) for name in ("p50", "p95", "p99"))
    return None if p50 is None or p95 is None or p99 is None else Latency(p50, p95, p99)


def _shadow(value: object) -> Shadow | None:
    if not isinstance(value, dict):
        return None
    texts, agreeing = _count(value.get("texts")), _count(value.get("agreeing"))
    if not texts or agreeing is None or agreeing > texts:
        return None
    return Shadow(Share(agreeing, texts), _number(value.get("mean_difference")), _number(value.get("p95_difference")))
