"""Shows how two versions compare by what a server has counted."""

from typing import Any

from ...comparison import CountComparison, Shadow, Share, VersionCounts, describe_counts
from ..console import print_rich, print_table
from .cells import UNKNOWN, accuracies_json, labels_of, latency_json, milliseconds, part, percent, share_json


def show(comparison: CountComparison, a: str, b: str) -> None:
    """Print a table, and the verdict in words. `a` and `b` are the names of the versions."""
    both = (comparison.a, comparison.b)
    rows = [("requests", *(UNKNOWN if each.requests is None else f"{each.requests:,}" for each in both))]
    rows += [
        (f"label {label}", *(part(each.mix, label) for each in both))
        for label in labels_of(comparison.a.mix, comparison.b.mix)
    ]
    rows += [
        ("confidence: about the mean", *(_decimal(each.confidence) for each in both)),
        ("ms: p50 / p95 / p99", *(milliseconds(each.latency) for each in both)),
        ("accuracy by feedback (95 % interval)", percent(comparison.accuracy_a), percent(comparison.accuracy_b)),
    ]
    if any(each.shadow for each in both):
        rows.append(("as a shadow: same label", *(_agreement(each.shadow) for each in both)))
        rows.append(("as a shadow: score difference, mean, p95", *(_difference(each.shadow) for each in both)))
    print_table(("", a, b), rows, numbers=(1, 2))
    print_rich(describe_counts(comparison, a, b))


def to_json(comparison: CountComparison, a: str, b: str) -> dict[str, Any]:
    """Return the same as JSON. What is unknown is null."""
    return {
        "a": {"version": a, **_version_json(comparison.a, comparison.accuracy_a)},
        "b": {"version": b, **_version_json(comparison.b, comparison.accuracy_b)},
        "accuracy": accuracies_json(comparison.accuracies),
        "words": describe_counts(comparison, a, b),
    }


def _version_json(counts: VersionCounts, accuracy: Share | None) -> dict[str, Any]:
    shadow = counts.shadow
    return {
        "requests": counts.requests,
        "labels": counts.mix,
        "mean_confidence": counts.confidence,
        "latency_ms": latency_json(counts.latency),
        "accuracy": share_json(accuracy),
        "shadow": shadow
        and {
            "agreement": share_json(shadow.agreement),
            "mean_difference": shadow.mean_difference,
            "p95_difference": shadow.p95_difference,
        },
    }


def _decimal(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.4f}"


def _agreement(shadow: Shadow | None) -> str:
    return percent(shadow.agreement) if shadow else ""


def _difference(shadow: Shadow | None) -> str:
    return f"{_decimal(shadow.mean_difference)}, {_decimal(shadow.p95_difference)}" if shadow else ""
