"""Reads what a server has counted about a version. A figure that is missing, or is none, is unknown."""

import math
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from ...comparison import Latency, Shadow, Share, VersionCounts, mean_of_buckets
from ..exits import WRONG_USAGE, Failure
from ..score.remote import Server, detail_of


def read_version(server: Server, name: str) -> VersionCounts:
    """Ask for a version, `name@version`. Raises `Failure` if the server does not have it."""
    model, _, version = name.rpartition("@")
    if not model or not version:
        raise Failure(f"{name}: with --url, give the version as NAME@VERSION", WRONG_USAGE)
    status, answer = server.call("GET", f"/models/{quote(model, safe='')}")
    if status != 200:
        raise Failure(f"{server.url}: {model}: {detail_of(answer) or status}")
    versions = answer.get("versions") if isinstance(answer, dict) else None
    if not isinstance(versions, list):
        raise Failure(f"{server.url}: the server does not say which versions it has")
    known = {str(each["version"]): each for each in versions if isinstance(each, dict) and "version" in each}
    if version not in known:
        raise Failure(f"{server.url}: {model} has no version {version}; it has {', '.join(known) or 'none'}")
    return counts_of(known[version])


def counts_of(content: Mapping[str, Any]) -> VersionCounts:
    """Return what a server says about a version."""
    return VersionCounts(
        _count(content.get("requests")),
        _counts(content.get("predictions")),
        _confidence(content.get("confidence")),
        _latency(content.get("latency_ms")),
        _feedback(content.get("feedback")),
        _shadow(content.get("shadow")),
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
