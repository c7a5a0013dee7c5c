"""The report of `python -m perf` shows what was measured and judges each target."""

from pathlib import Path
from typing import Any

import pytest

from perf.suite.comparison import OURS
from perf.suite.report import draw, text
from perf.suite.targets import TARGETS, Target


def closed(server: str, rate: float) -> dict[str, Any]:
    figures = {"rate": rate, "p50_ms": 80.0, "p95_ms": 110.0, "p99_ms": 120.0, "failed": 0}
    return {"server": server, "texts": "sentences", "connections": 64} | figures


def opened(server: str) -> dict[str, Any]:
    rates = {"offered_per_s": 199.0, "goodput_per_s": 198.0, "not_answered": 1}
    return {"server": server, "p50_ms": 9.0, "p99_ms": 20.0, "generator_p99_ms": 2.0} | rates


@pytest.fixture
def results() -> dict[str, Any]:
    return {
        "date": "2026-11-28",
        "cores": 2,
        "machine": "AMD EPYC",
        "closed": [closed(OURS, 900.0), closed("mosec", 400.0)],
        "open": [opened(OURS), opened("mosec")],
        "start": {"ready_s": 3.0, "resident_mb": 213.0},
    }


def test_each_server_is_shown_with_its_ratio_to_ours(results: dict[str, Any]) -> None:
    row = next(line for line in text(results).splitlines() if line.startswith("mosec"))
    assert row.split() == ["mosec", "400", "(0.44)", "80.0", "110.0"]


def test_each_target_is_reached_missed_or_not_measured(results: dict[str, Any]) -> None:
    verdicts = text(results).splitlines()[-len(TARGETS) :]
    assert verdicts[0].split()[:2] == ["reached", "2.25"]
    assert sum(verdict.startswith("not measured") for verdict in verdicts) == len(TARGETS) - 3
    assert [verdict.split()[1] for verdict in verdicts if verdict.startswith("MISSED")] == ["3.00"]


@pytest.mark.parametrize(
    ("figure", "at_most", "word"), [(2, True, "reached"), (3, True, "MISSED"), (2, False, "reached")]
)
def test_a_limit_itself_is_reached(figure: float, at_most: bool, word: str) -> None:
    assert Target("figure", lambda _: figure, 2, at_most).verdict({}).startswith(word)


def test_the_plots_are_written(results: dict[str, Any], tmp_path: Path) -> None:
    draw(results, tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {"throughput.png", "open-loop.png"}
