"""Reads docs/metrics.md, the rules, the alerts and the dashboard for the tests."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from tests.support.process import ROOT

PROMETHEUS = ROOT / "deploy" / "prometheus"
GRAFANA = ROOT / "deploy" / "grafana"
JOBS = (ROOT / "docs" / "jobs.md").read_text()
DOCUMENT = (ROOT / "docs" / "metrics.md").read_text()


@dataclass(frozen=True)
class Metric:
    type: str
    labels: frozenset[str]


@dataclass(frozen=True)
class Query:
    """A PromQL expression and where it comes from."""

    where: str
    expression: str

    def metrics(self) -> set[str]:
        """The metric names in it: what remains without strings, selectors, groupings and functions."""
        rest = re.sub(r'"[^"]*"|\{[^}]*\}|\[[^\]]*\]', " ", self.expression)
        rest = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", " ", rest)
        rest = re.sub(r"\boffset\s+\w+|\b(and|or|unless|bool|atan2)\b", " ", rest)
        return set(re.findall(r"(?<![\w:])[a-zA-Z_:][\w:]*(?![\w:])(?!\s*\()", rest))


def codes(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def rows(heading: str, document: str = DOCUMENT) -> list[list[str]]:
    """The cells of all tables in docs/metrics.md whose first heading is this one."""
    tables = re.findall(rf"^\| {heading} \|.*\n\|[-|]+\n((?:\|.*\n)+)", document, flags=re.MULTILINE)
    return [[cell.strip() for cell in line.strip("|").split("|")] for table in tables for line in table.splitlines()]


def documented(document: str = DOCUMENT) -> dict[str, Metric]:
    """The metrics of the service, or of the workers, which are in docs/jobs.md."""
    return {
        name: Metric(row[1], frozenset(codes(row[2]))) for row in rows("metric", document) for name in codes(row[0])
    }


def label_values() -> dict[str, set[str]]:
    return {codes(name)[0]: set(codes(values)) for name, values in rows("label")}


def rules() -> list[dict[str, Any]]:
    """Every recording rule and alert."""
    files = [yaml.safe_load((PROMETHEUS / name).read_text()) for name in ("rules.yml", "alerts.yml")]
    return [rule for file in files for group in file["groups"] for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((GRAFANA / "dashboards" / "rt-sentiment.json").read_text())
    return loaded


def rule_queries() -> Iterator[Query]:
    for rule in rules():
        yield Query(rule.get("record") or rule["alert"], rule["expr"])


def panel_queries() -> Iterator[Query]:
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", []):
            yield Query(f"{panel['title']} · {target['refId']}", target["expr"])


def document_queries() -> Iterator[Query]:
    """The examples in docs/metrics.md and docs/runbook.md."""
    for name in ("metrics.md", "runbook.md"):
        text = (ROOT / "docs" / name).read_text()
        for number, block in enumerate(re.findall(r"^```promql\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL), 1):
            yield Query(f"{name} {number}", block.strip())
