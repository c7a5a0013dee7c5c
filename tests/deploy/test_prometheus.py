"""The rules, alerts, runbook and dashboard agree with each other and with docs/metrics.md."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.config import Settings
from tests.support.monitoring import (
    DOCUMENT,
    GRAFANA,
    JOBS,
    PROMETHEUS,
    Query,
    dashboard,
    document_queries,
    documented,
    panel_queries,
    rule_queries,
    rules,
)
from tests.support.process import ROOT

ALERTS = {rule["alert"]: rule for rule in rules() if "alert" in rule}
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text()
QUERIES = [*rule_queries(), *panel_queries(), *document_queries()]
PROMETHEUS_METRICS = {"up", "ALERTS"}
PROMETHEUS_LABELS = {"job", "instance", "le", "alertname", "alertstate"}

needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")


def existing_metrics() -> set[str]:
    """Every metric name that a query may use."""
    names = {rule["record"] for rule in rules() if "record" in rule} | PROMETHEUS_METRICS
    for name, metric in {**documented(), **documented(JOBS)}.items():
        names |= {f"{name}_{suffix}" for suffix in ("bucket", "sum", "count")} if metric.type == "histogram" else {name}
    return names


class TestQueries:
    @pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.where)
    def test_metrics_and_labels_exist(self, query: Query) -> None:
        assert query.metrics()
        assert query.metrics() <= existing_metrics()
        labels = PROMETHEUS_LABELS.union(
            *(metric.labels for metric in [*documented().values(), *documented(JOBS).values()])
        )
        selected = re.findall(r'(\w+)\s*(?:=~|!~|!=|=)\s*"', query.expression)
        grouped = re.findall(r"\b(?:by|on|ignoring|without|group_left|group_right)\s*\(([^)]*)\)", query.expression)
        assert {*selected, *re.findall(r"\w+", " ".join(grouped))} <= labels

    def test_metrics_are_found_anywhere_in_a_query(self) -> None:
        text = (
            'sum by (le) (rate(a_b{c="d_e"}[5m])) / on (x) group_left () (job:f:g5m offset 1d > 0) or vector(0) and h'
        )
        assert Query("", text).metrics() == {"a_b", "job:f:g5m", "h"}


class TestAlerts:
    @pytest.mark.parametrize("name", ALERTS)
    def test_each_has_a_severity_a_summary_and_a_runbook_link(self, name: str) -> None:
        assert ALERTS[name]["labels"]["severity"] in {"critical", "warning"}
        annotations = ALERTS[name]["annotations"]
        assert annotations.keys() == {"summary", "description", "runbook_url"}
        assert annotations["runbook_url"] == f"docs/runbook.md#{name.lower()}"

    def test_the_runbook_has_one_section_per_alert_in_order(self) -> None:
        assert re.findall(r"^## (.+)$", RUNBOOK, flags=re.MULTILINE) == list(ALERTS)

    @pytest.mark.parametrize("section", RUNBOOK.split("\n## ")[1:], ids=ALERTS)
    def test_a_section_has_the_parts_meaning_checks_and_actions(self, section: str) -> None:
        assert re.findall(r"^\*\*(\w+)\.\*\*", section, flags=re.MULTILINE) == ["Means", "Look", "Do"]

    @pytest.mark.parametrize("name", ALERTS)
    def test_a_rule_test_covers_firing_and_not_firing(self, name: str) -> None:
        files = [PROMETHEUS / name for name in ("tests.yml", "drift-tests.yml")]
        cases = [case for file in files for case in yaml.safe_load(file.read_text())["tests"]]
        outcomes = {bool(case["exp_alerts"]) for test in cases for case in test.get("alert_rule_test", [])
                    if case["alertname"] == name}  # fmt: skip
        assert outcomes == {True, False}

    def test_alerts_named_in_the_runbook_exist(self) -> None:
        assert set(re.findall(r"\bSentiment[A-Z]\w+", RUNBOOK)) <= ALERTS.keys()


@needs_promtool
class TestPromtool:
    @pytest.mark.parametrize(
        "command",
        [
            "check config prometheus.yml",
            "check rules --lint=all rules.yml alerts.yml",
            "test rules tests.yml drift-tests.yml",
        ],
    )
    def test_promtool_accepts(self, command: str) -> None:
        words = ["promtool", *command.split()]
        done = subprocess.run(words, check=False, cwd=PROMETHEUS, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


class TestScrape:
    def test_port_and_job_name_match_the_service_and_the_rules(self) -> None:
        config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
        job, worker = config["scrape_configs"]
        (discovery,) = job["dns_sd_configs"]
        compose = yaml.safe_load((ROOT / "deploy" / "jobs.yml").read_text())["services"]["worker"]
        assert str(worker["dns_sd_configs"][0]["port"]) == compose["environment"]["SENTIMENT_WORKER_PORT"]
        assert (job["job_name"], job["metrics_path"]) == ("sentiment", "/metrics")
        assert (discovery["names"], discovery["port"]) == (["sentiment"], Settings().port)

    def test_shared_metric_names_are_limited_to_our_job(self) -> None:
        """Other services also have metrics like `up` and `http_requests_total`."""
        for query in [*rule_queries(), *panel_queries()]:
            shared = r"(?<![\w:])(up|http_\w+|process_\w+)(?![\w:])(\{[^}]*\})?"
            for name, selector in re.findall(shared, query.expression):
                assert 'job="sentiment"' in selector, f"{query.where}: {name}"


class TestDashboard:
    panels: list[dict[str, Any]] = dashboard()["panels"]

    def test_ids_are_unique_and_panels_do_not_overlap(self) -> None:
        assert len({panel["id"] for panel in self.panels}) == len(self.panels)
        taken = [
            (panel["gridPos"]["x"] + column, panel["gridPos"]["y"] + line)
            for panel in self.panels
            for column in range(panel["gridPos"]["w"])
            for line in range(panel["gridPos"]["h"])
        ]
        assert len(set(taken)) == len(taken)
        assert max(column for column, _ in taken) < 24

    def test_every_panel_has_a_description_a_unit_and_a_replica_filter(self) -> None:
        for panel in self.panels:
            if panel["type"] == "row":
                continue
            assert panel["description"], panel["title"]
            assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
            assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, panel["title"]
            for target in panel["targets"]:
                # Each worker shows the figures of all of them, and is no replica.
                is_of_all = re.search("ALERTS|sentiment_jobs_", target["expr"])
                assert 'instance=~"$instance"' in target["expr"] or is_of_all, panel["title"]

    def test_figures_of_jobs_are_not_added_up(self) -> None:
        summed = r"\bsum\s*(?:by \([^)]*\)\s*)?\((?:rate|increase)?\(?sentiment_jobs_"
        assert re.search(summed, "sum by (queue) (rate(sentiment_jobs_rows_total[5m]))")
        for query in [*rule_queries(), *panel_queries(), *document_queries()]:
            assert not re.search(summed, query.expression), query.where

    def test_windows_follow_the_zoom(self) -> None:
        for query in panel_queries():
            assert set(re.findall(r"\[(.*?)\]", query.expression)) <= {"$__rate_interval"}, query.where

    def test_it_shows_every_metric_of_the_service_and_workers(self) -> None:
        shown = {name for query in panel_queries() for name in query.metrics()}
        expected = {name for name in [*documented(), *documented(JOBS)] if name.startswith("sentiment_")}
        assert {name for name in expected if not any(used.startswith(name) for used in shown)} == set()

    def test_its_variables_are_the_data_source_and_the_replica(self) -> None:
        assert [variable["name"] for variable in dashboard()["templating"]["list"]] == ["datasource", "instance"]

    def test_grafana_uses_the_scrape_interval_of_prometheus(self) -> None:
        (source,) = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())["datasources"]
        (provider,) = yaml.safe_load((GRAFANA / "provisioning/dashboards/rt-sentiment.yml").read_text())["providers"]
        assert source["type"] == "prometheus"
        scrape = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())["global"]["scrape_interval"]
        assert source["jsonData"]["timeInterval"] == scrape
        assert Path(provider["options"]["path"]).is_absolute()


def test_metrics_and_runbook_link_to_each_other() -> None:
    assert "](runbook.md)" in DOCUMENT
    assert "](metrics.md)" in RUNBOOK
