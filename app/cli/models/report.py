"""Shows how two models did on the same texts."""

import re
from dataclasses import asdict
from typing import Any

from ...comparison import Change, Confidence, describe
from ..console import print_rich, print_table
from .cells import accuracies_json, labels_of, latency_json, milliseconds, part, percent, share_json
from .trial import Trial

_CHECKSUM = re.compile(r"sha256:(\w{12})\w*")
_MEDIAN = 4  # of nine deciles


def show(trial: Trial) -> None:
    """Print tables, and the verdict in words."""
    comparison, differences = trial.comparison, trial.comparison.score_difference
    rows = [("model", _short(trial.a.model), _short(trial.b.model))]
    rows += [
        (f"label {label}", part(comparison.mix_a, label), part(comparison.mix_b, label))
        for label in labels_of(comparison.mix_a, comparison.mix_b)
    ]
    rows.append(
        ("confidence: mean, median", _confidence(comparison.confidence_a), _confidence(comparison.confidence_b))
    )
    if accuracies := comparison.accuracies:
        rows.append(("accuracy (95 % interval)", percent(accuracies.a), percent(accuracies.b)))
        rows.append(("texts on which only it is right", f"{accuracies.only_a:,}", f"{accuracies.only_b:,}"))
    rows += [
        ("ms for one text: p50 / p95 / p99", milliseconds(comparison.latency_a), milliseconds(comparison.latency_b)),
        ("texts/s in batches", f"{trial.a.texts_per_s:,.0f}", f"{trial.b.texts_per_s:,.0f}"),
    ]
    print_table(("", "A", "B"), rows, numbers=(1, 2))
    errors = f", and {trial.errors:,} without a prediction" if trial.errors else ""
    print_rich(f"texts             {comparison.texts:,}{errors}")
    print_rich(f"same label        {percent(comparison.agreement)}")
    print_rich(f"score difference  mean {differences.mean:.4f}, p95 {differences.p95:.4f}, max {differences.max:.4f}")
    if comparison.largest:
        largest = [
            (f"{trial.rows[each.index]:,}", f"{each.difference:.4f}", each.a, each.b, each.truth or "")
            for each in comparison.largest
        ]
        print_table(("largest differences: row", "difference", "A", "B", "right"), largest, numbers=(0, 1))
    print_rich(describe(comparison))


def to_json(trial: Trial) -> dict[str, Any]:
    """Return the same as JSON. Rows count from 1."""
    comparison, accuracies = trial.comparison, trial.comparison.accuracies
    versions = {
        name: {
            "model": tried.model,
            "labels": mix,
            "confidence": asdict(confidence),
            "accuracy": share_json(share),
            "latency_ms": latency_json(latency),
            "texts_per_s": round(tried.texts_per_s, 1),
        }
        for name, tried, mix, confidence, share, latency in (
            (
                "a",
                trial.a,
                comparison.mix_a,
                comparison.confidence_a,
                accuracies.a if accuracies else None,
                comparison.latency_a,
            ),
            (
                "b",
                trial.b,
                comparison.mix_b,
                comparison.confidence_b,
                accuracies.b if accuracies else None,
                comparison.latency_b,
            ),
        )
    }
    return {
        "texts": comparison.texts,
        "errors": trial.errors,
        **versions,
        "agreement": share_json(comparison.agreement),
        "score_difference": asdict(comparison.score_difference),
        "accuracy": accuracies_json(accuracies),
        "largest": [_change_json(each, trial.rows[each.index]) for each in comparison.largest],
        "words": describe(comparison),
    }


def _short(model: str) -> str:
    """Return the name of a model with the beginning of its checksum."""
    return _CHECKSUM.sub(r"\1", model)


def _confidence(confidence: Confidence) -> str:
    return f"{confidence.mean:.3f}, {confidence.deciles[_MEDIAN]:.3f}"


def _change_json(change: Change, row: int) -> dict[str, Any]:
    return {"row": row, "difference": change.difference, "a": change.a, "b": change.b, "right": change.truth}
