"""Figures as the cells of a table, and as JSON."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ...comparison import Accuracies, Latency, Share

UNKNOWN = "unknown"


def percent(share: Share | None) -> str:
    """Return a share with its interval."""
    if share is None:
        return UNKNOWN
    low, high = share.interval
    return f"{100 * share.value:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def milliseconds(latency: Latency | None) -> str:
    return f"{latency.p50:.1f} / {latency.p95:.1f} / {latency.p99:.1f}" if latency else UNKNOWN


def part(mix: Mapping[str, int] | None, label: str) -> str:
    """Return the part of a label in a mix."""
    if not mix or not sum(mix.values()):
        return UNKNOWN
    return f"{100 * mix.get(label, 0) / sum(mix.values()):.1f} %"


def labels_of(*mixes: Mapping[str, int] | None) -> list[str]:
    return sorted({label for mix in mixes for label in mix or ()})


def share_json(share: Share | None) -> dict[str, Any] | None:
    return None if share is None else asdict(share) | {"value": share.value, "interval": share.interval}


def latency_json(latency: Latency | None) -> dict[str, float] | None:
    return asdict(latency) if latency else None


def accuracies_json(accuracies: Accuracies | None) -> dict[str, Any] | None:
    """Return what the accuracies say together; those of each version are beside its other figures."""
    if accuracies is None:
        return None
    difference = accuracies.difference
    paired = {"only_a_right": accuracies.only_a, "only_b_right": accuracies.only_b} if accuracies.paired else {}
    return {
        "difference": difference.value,
        "interval": [difference.low, difference.high],
        "p": accuracies.p,
        "test": accuracies.test,
        "texts_needed": accuracies.texts_needed,
        **paired,
    }
