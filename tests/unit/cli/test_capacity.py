"""`rt-sentiment capacity`."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import run

GIVEN = ("capacity", "--cost", "1", "0.06", "--tokens", "25")


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.capacity.forecasts.REQUESTS", 2000)
    monkeypatch.setattr("app.capacity.forecasts._SKIPPED", 200)
    monkeypatch.setattr("app.cli.capacity.measure._ROUNDS", 1)
    monkeypatch.setattr("app.cli.capacity.measure._LONE_TEXTS", 20)
    monkeypatch.setattr("app.cli.capacity.measure._REQUESTS", 20)
    monkeypatch.setattr("app.cli.capacity.measure._WARM_UP", 5)


def output(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_given_costs_need_no_measurement(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*GIVEN, "--rps", "300", "--p99-ms", "50") == 0
    assert "300 requests/s with a p99 of at most 50 ms: " in capsys.readouterr().out


def test_json_has_the_plan_and_the_costs(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ("--request-ms", "0.4", "--hit-ms", "0.2", "--memory-mb", "123", "--cores", "2", "--hit-rate", "0.5")
    assert run(*GIVEN, "--rps", "300", "--p99-ms", "50", "--json", *flags) == 0
    document = output(capsys)
    expected = {"base_ms": 1, "token_ms": 0.06, "request_ms": 0.4, "hit_ms": 0.2, "memory_mb": 123, "extra_ms": 0}
    costs = document["costs"]
    assert costs == expected | {"depths": costs["depths"], "delay_p99_ms": 0}
    assert costs["depths"]["costs"] == pytest.approx([3 / 6, 1 / 6, 2 / 6])  # the parts of the embedded model
    assert sum(costs["depths"]["ends"]) == pytest.approx(1)
    assert document["reached"]
    assert document["expected"]["layout"] == {"replicas": 1, "cores": 2}
    assert document["expected"]["total_cores"] == 2
    assert document["expected"]["p99_ms"] <= 50
    assert document["mean_tokens"] == pytest.approx(25, rel=0.05)


@pytest.mark.parametrize(
    ("flags", "missing"),
    [
        (("--rps", "10", "--p99-ms", "1"), "text"),
        (("--rps", "3000", "--p99-ms", "50", "--max-cores", "1"), "cores"),
        (("--rps", "3000", "--p99-ms", "50", "--max-memory-mb", "100"), "memory"),
        (("--rps", "3000", "--p99-ms", "50", "--replicas", "1", "--cores", "1"), "latency"),
    ],
)
def test_a_goal_that_cannot_be_reached_is_a_failure(
    capsys: pytest.CaptureFixture[str], flags: tuple[str, ...], missing: str
) -> None:
    assert run(*GIVEN, *flags, "--json") == 1
    document = output(capsys)
    assert (document["reached"], document["missing"]) == (False, missing)


def test_texts_are_as_long_as_the_model_says(capsys: pytest.CaptureFixture[str]) -> None:
    """The mean of the distribution in the manifest, if every length inside of a bin is equally frequent."""
    assert run("capacity", "--cost", "1", "0.06", "--rps", "10", "--p99-ms", "50", "--json") == 0
    assert output(capsys)["mean_tokens"] == pytest.approx(29, abs=1)
    assert run("capacity", "--cost", "1", "0.06", "--backend", "mock", "--rps", "10", "--p99-ms", "50", "--json") == 0
    assert output(capsys)["mean_tokens"] == pytest.approx(29, abs=1)


def test_a_model_that_is_not_here_needs_a_mean(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ("--cost", "1", "0.06", "--rps", "10", "--p99-ms", "50", "--model", "nowhere/at-all")
    assert run("capacity", *flags) == 1
    assert "nowhere/at-all" in capsys.readouterr().err
    assert run("capacity", *flags, "--tokens", "20") == 0


def test_costs_are_measured_with_a_server_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("capacity", "--backend", "mock", "--rps", "10", "--p99-ms", "10000", "--json") == 0
    costs = output(capsys)["costs"]
    assert all(costs[name] > 0 for name in ("base_ms", "token_ms", "request_ms", "hit_ms", "memory_mb"))
    assert costs["delay_p99_ms"] > 0


@pytest.mark.parametrize("depth", ["auto", "full"])
def test_a_model_with_exits_takes_less(depth: str, with_exits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ("--cost", "1", "0.06", "--rps", "500", "--p99-ms", "50", "--model", str(with_exits), "--depth", depth)
    assert run("capacity", *flags) == 0
    said = capsys.readouterr().out
    assert ("Because texts may leave early" in said) == (depth == "auto")
    assert run("capacity", *flags, "--json") == 0
    depths = output(capsys)["costs"]["depths"]
    if depth == "auto":
        assert depths["costs"] == [0.5, pytest.approx(1 / 6), pytest.approx(1 / 3)]
        assert sum(depths["ends"]) == pytest.approx(1, abs=0.01)
        assert min(depths["ends"]) > 0
    else:
        assert depths == {"costs": [1.0], "ends": [1.0]}


def test_what_parts_cost_is_measured(with_exits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ("--rps", "10", "--p99-ms", "10000", "--model", str(with_exits), "--json")
    assert run("capacity", *flags) == 0
    costs = output(capsys)["costs"]["depths"]["costs"]
    assert sum(costs) == pytest.approx(1)
    assert min(costs) > 0
    assert costs[0] != 0.5


def test_a_server_that_does_not_start_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("capacity", "--backend", "nowhere:Backend", "--rps", "10", "--p99-ms", "50") == 1
    assert "did not get ready" in capsys.readouterr().err


@pytest.mark.parametrize(
    "flags", [(), ("--rps", "0", "--p99-ms", "5"), ("--rps", "1", "--p99-ms", "5", "--hit-rate", "2")]
)
def test_a_wrong_goal_is_wrong_usage(flags: tuple[str, ...]) -> None:
    assert run("capacity", *flags) == 2
