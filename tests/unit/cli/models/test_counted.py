"""`models compare --url`: what a server has counted."""

import json
from typing import Any

import pytest

from app.cli.exits import WRONG_USAGE, Failure
from app.cli.models.counted import counts_of
from app.comparison import Latency, Share, VersionCounts
from tests.support.compared import run, serving

OLD = {
    "version": "m@1",
    "source": "models/m-1",
    "requests": 9000,
    "predictions": {"bad": 3000, "good": 6000},
    "confidence": {"edges": [0.5, 0.75, 1.0], "counts": [1000, 3000]},
    "latency_ms": {"p50": 1.0, "p95": 2.5, "p99": 4},
    "feedback": {"bad": {"bad": 40, "good": 10}, "good": {"good": 45, "bad": 5}},
    "shadow": False,
    "compared": None,
}
NEW = OLD | {
    "version": "m@2",
    "requests": 1000,
    "predictions": {"bad": 400, "good": 600},
    "feedback": {"bad": {"bad": 48, "good": 2}, "good": {"good": 49, "bad": 1}},
}
SHADOW = {
    "version": "n@3",
    "state": "ready",
    "shadow": True,
    "compared": {"texts": 500, "agreeing": 490, "mean_difference": 0.0125, "p95_difference": 0.2},
}
LOADING = {"version": None, "state": "loading"}
MODELS = {"models": [{"name": "m", "versions": [OLD, NEW]}, {"name": "n", "versions": [SHADOW, LOADING]}]}


def test_two_versions_are_compared_by_their_counts() -> None:
    with serving(MODELS) as (url, requests):
        result = run("m@1", "m@2", "--url", url, "--api-key", "secret", "--json")
    assert result.return_value == 0, result.exception
    assert requests == [("/models", "Bearer secret")]
    found = json.loads(result.stdout)
    assert (found["a"]["version"], found["a"]["requests"], found["a"]["labels"]) == ("m@1", 9000, OLD["predictions"])
    assert found["a"]["mean_confidence"] == pytest.approx((1000 * 0.625 + 3000 * 0.875) / 4000)
    assert found["a"]["latency_ms"] == {"p50": 1.0, "p95": 2.5, "p99": 4.0}
    assert (found["a"]["accuracy"]["value"], found["b"]["accuracy"]["value"]) == (0.85, 0.97)
    assert found["accuracy"]["difference"] == pytest.approx(0.12)
    assert found["accuracy"]["p"] == pytest.approx(0.00657, abs=5e-6)  # 5.5^2 * (2/9 + 2/91) = 7.387
    assert "only_a_right" not in found["accuracy"]
    assert found["b"]["shadow"] is None
    assert "on texts like these, m@2 is better than m@1" in found["words"]


def test_people_get_a_table_and_the_verdict() -> None:
    with serving(MODELS) as (url, _):
        shown = run("m@1", "m@2", "--url", url).stdout
    for part in ("m@1", "9,000", "label good", "66.7 %", "60.0 %", "1.0 / 2.5 / 4.0", "97.0 %", "m@2 is better"):
        assert part in shown
    assert "as a shadow" not in shown


def test_a_shadow_shows_how_often_it_agrees() -> None:
    with serving(MODELS) as (url, _):
        shown = run("m@1", "n@3", "--url", url).stdout
        found = json.loads(run("m@1", "n@3", "--url", url, "--json").stdout)
    assert "unknown" in shown
    assert "0.0125, 0.2000" in shown
    assert "n@3 is a shadow: of the 500 texts that it saw, it gave 490 (98.0 %)" in shown
    assert found["b"]["shadow"]["agreement"]["count"] == 490
    assert found["b"]["requests"] is found["b"]["accuracy"] is found["accuracy"] is None


@pytest.mark.parametrize(
    ("name", "answer", "message", "status"),
    [
        ("m", MODELS, "m: with --url, give the version as NAME@VERSION", WRONG_USAGE),
        ("m@", MODELS, "give the version as NAME@VERSION", WRONG_USAGE),
        ("m@9", MODELS, "it has no m@9; it has m@1, m@2, n@3", 1),
        ("m@9", {"models": []}, "it has no m@9; it has none", 1),
        ("m@9", {}, "no rt-sentiment server answers there (200)", 1),
    ],
)
def test_a_version_that_the_server_lacks_is_named(name: str, answer: Any, message: str, status: int) -> None:
    with serving(answer) as (url, _):
        error = run(name, "m@2", "--url", url).exception
    assert isinstance(error, Failure)
    assert message in str(error)
    assert error.status == status


@pytest.mark.parametrize(
    "content",
    [
        {},
        dict.fromkeys(("requests", "predictions", "confidence", "latency_ms", "feedback", "compared")),
        {"requests": -1, "predictions": [1], "confidence": 0.5, "latency_ms": 3, "feedback": 1, "compared": 1},
        {
            "requests": True,
            "predictions": {"a": "many"},
            "confidence": {"edges": ["low"], "counts": [1]},
            "latency_ms": {"p50": 1, "p95": None},
            "feedback": {"a": {"a": 1.5}},
            "compared": {"texts": 0, "agreeing": 0},
        },
        {
            "requests": 1.5,
            "confidence": {"edges": [0.5, 1.0], "counts": [1, -1]},
            "latency_ms": {"p50": float("nan"), "p95": 1, "p99": 1},
            "compared": {"texts": 3, "agreeing": 4},
        },
        {"confidence": {"edges": 3, "counts": 4}, "compared": {"texts": 3}},
    ],
)
def test_what_is_missing_or_no_figure_is_unknown(content: dict[str, Any]) -> None:
    assert counts_of(content) == VersionCounts()


def test_a_shadow_may_lack_its_differences() -> None:
    counts = counts_of({"compared": {"texts": 4, "agreeing": 3}, "latency_ms": {"p50": 1, "p95": 2, "p99": 3}})
    assert counts.shadow is not None
    assert (counts.shadow.agreement, counts.shadow.mean_difference) == (Share(3, 4), None)
    assert counts.latency == Latency(1.0, 2.0, 3.0)
