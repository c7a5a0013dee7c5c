"""A real Prometheus with the shipped rules scrapes a real server; all queries of rules, panels and docs have results.

`python -m pytest tests/deploy/test_prometheus_live.py -s` prints them.
"""

import contextlib
import itertools
import math
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.support.gate import Gate
from tests.support.monitoring import PROMETHEUS, Query, document_queries, panel_queries, rule_queries, rules
from tests.support.process import ROOT, Server, serve
from tests.support.waiting import HANG_S, until

needs_prometheus = pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed")
GREP = re.findall(r"^grep -E '([^']+)' log", (ROOT / "docs" / "runbook.md").read_text(), flags=re.MULTILINE)
# tests/system/jobs/test_faults.py waits for these events in logs of workers.
GREP.remove('"event":"(job failed|job lost)"')


class Load:
    """Requests of every kind from eight clients, until it is stopped."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(8)
        self._clients = [self._pool.submit(self._call, number) for number in range(8)]

    def _call(self, client: int) -> None:
        with self._server.client() as http:
            for number in itertools.count():
                if self._stop.wait(0.05):
                    return
                unique = f"{client} {number}"
                http.post("/predict", json={"text": f"a good text {number // 4}"})  # mostly cache hits
                long = f"{unique} good " + "bad " * (number % 3 * 300)
                http.post("/predict", json={"text": long})
                http.post("/predict", json={"text": long, "long_text": "window"})
                http.post("/predict/batch", json={"texts": [f"a bad one {unique} {index % 20}" for index in range(21)]})
                http.post("/predict", json={"text": f"late {unique}"}, headers={"X-Request-Timeout-Ms": "10"})
                http.post("/predict", json={"text": f"[fail] {unique}"})
                http.post("/predict", content=b"{")
                http.post("/predict", json={"text": f"good {unique}", "explain": True})
                line, ndjson = f'{{"text": "streamed {unique}"}}', {"content-type": "application/x-ndjson"}
                http.post("/predict/stream", content=f"{line}\n{{", headers=ndjson)

    def stop(self) -> None:
        self._stop.set()
        for client in self._clients:
            client.result(HANG_S)
        self._pool.shutdown()


class Prometheus:
    """Client for the HTTP API of Prometheus."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def get(self, path: str, **parameters: str) -> Any:
        answer = self._http.get(f"/api/v1{path}", params=parameters).json()
        assert answer["status"] == "success", answer
        return answer["data"]

    def values(self, query: Query) -> list[tuple[str, float]]:
        """The labels and the value of each series, with the variables of the dashboard filled in."""
        expression = query.expression.replace("$__rate_interval", "5s").replace("$instance", ".+")
        result = self.get("/query", query=expression)["result"]
        shown = ("handler", "status", "stage", "reason", "outcome", "label", "alertname")
        return [
            (" ".join(series["metric"][name] for name in shown if name in series["metric"]), float(series["value"][1]))
            for series in result
        ]


@contextlib.contextmanager
def prometheus(folder: Path, target: str) -> Iterator[Prometheus]:
    """Run Prometheus with the shipped configuration, except for the targets and the intervals."""
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(PROMETHEUS / name) for name in config["rule_files"]]
    del config["scrape_configs"][0]["dns_sd_configs"]
    config["scrape_configs"][0]["static_configs"] = [{"targets": [target]}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder}/prometheus.yml",
                f"--storage.tsdb.path={folder}/data",
                f"--web.listen-address={address}",
            ],
            stderr=log,
        )
    try:
        with httpx.Client(base_url=f"http://{address}", timeout=HANG_S) as http:

            def is_ready() -> bool:
                assert process.poll() is None, (folder / "log").read_text()
                with contextlib.suppress(httpx.TransportError):
                    return http.get("/-/ready").status_code == 200
                return False

            until(is_ready, on_timeout=(folder / "log").read_text)
            yield Prometheus(http)
    finally:
        process.terminate()
        process.wait(HANG_S)


def _result(
    running: Prometheus, query: Query, *, may_be_empty: bool, positive: bool
) -> tuple[list[tuple[str, float]]] | None:
    values = running.values(query)
    return (values,) if may_be_empty or _is_valid(values, positive=positive) else None


def _is_valid(values: list[tuple[str, float]], *, positive: bool) -> bool:
    """Whether there are values, all of them finite and, if `positive`, at least one above zero."""
    numbers = [value for name, value in values if name != "shared"]  # a stage that takes a shared cache
    return bool(numbers) and all(map(math.isfinite, numbers)) and (not positive or max(numbers) > 0)


@needs_prometheus
def test_every_query_has_a_result(tmp_path: Path) -> None:
    alerts = {rule["alert"] for rule in rules() if "alert" in rule}
    # Workers report the metrics of jobs: see tests/integration/jobs/test_monitor.py.
    panels = [query for query in panel_queries() if "sentiment_jobs_" not in query.expression]
    with (
        serve(backend="mock", slots="1", mock_delay_ms="20", abstain_below="0.6") as server,
        prometheus(tmp_path, server.address.removeprefix("http://")) as running,
    ):
        load = Load(server)
        try:
            documents = [query for query in document_queries() if "sentiment_jobs_" not in query.expression]
            for query in [*rule_queries(), *panels, *documents]:
                # The load contains every kind of request. But a queue may be empty, and rules have windows of minutes.
                momentary = {"Waiting texts", "Predicted wait", "Open streams"}
                positive = query in panels and query.where.split(" · ")[0] not in momentary
                # Nothing of this happens here: see tests/system/test_metrics_document.py for what is about models.
                unused = bool(
                    re.search(
                        "sentiment_(golden|drift|shadow|shallow|depth|version_failed|shared|feedback)", query.expression
                    )
                )
                # The first results need some scrapes.
                may_be_empty = query.where in alerts or unused
                (values,) = until(
                    partial(_result, running, query, may_be_empty=may_be_empty, positive=positive),
                    interval_s=0.5,
                    on_timeout=partial(str, query),
                )
                print(f"| {query.where} | {'; '.join(f'{name} {value:.4g}'.strip() for name, value in values)} |")
            until(
                lambda: all(
                    rule["evaluationTime"] for group in running.get("/rules")["groups"] for rule in group["rules"]
                ),
                interval_s=0.5,
            )
        finally:
            load.stop()
        evaluated = [rule for group in running.get("/rules")["groups"] for rule in group["rules"]]
        assert len(evaluated) == len(rules())
        assert {rule["health"] for rule in evaluated} == {"ok"}
        until(lambda: [target["health"] for target in running.get("/targets")["activeTargets"]] == ["up"])
        # The only alert without a delay; the others need minutes or days, which a test on a slow machine may last.
        firing = {
            alert["labels"]["alertname"] for alert in running.get("/alerts")["alerts"] if alert["state"] == "firing"
        }
        delayed = {rule["alert"] for rule in rules() if "alert" in rule and "for" in rule}
        assert firing - delayed == {"SentimentBackendErrors"}


BUG = """
from app.serving.service import Service
begin = Service.begin
def failing(self, query):
    if query.texts == ["bug"]:
        raise KeyError
    return begin(self, query)
Service.begin = failing
"""


@pytest.fixture(scope="module")
def log(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Logs of servers: healthy; one that refuses, fails and drains too long; a model that hangs; one missing."""
    text = server.log.read_text()
    settings = {"slots": "1", "max_queue_texts": "256", "drain_timeout_ms": "100"}
    folder = tmp_path_factory.mktemp("runbook")
    gate = Gate(folder)
    prelude = gate.before_runs + BUG
    with (
        serve(backend="mock", prelude=prelude, **settings) as bad,
        bad.client() as http,
        ThreadPoolExecutor(2) as callers,
    ):
        slow = callers.submit(http.post, "/predict", json={"text": "first"})
        bad.wait_for_misses(1)
        waiting = callers.submit(http.post, "/predict/batch", json={"texts": [f"{index}" for index in range(256)]})
        bad.wait_for_metric("sentiment_queue_texts", 256)
        assert http.post("/predict", json={"text": "one more"}).status_code == 429
        gate.open()
        assert (slow.result().status_code, waiting.result().status_code) == (200, 200)
        assert [http.post("/predict", json={"text": word}).status_code for word in ("[fail]", "bug")] == [500, 500]
        assert http.request("BREW", "/predict").status_code == 400
        misses = int(bad.metric('sentiment_cache_total{outcome="miss"}'))
        late = callers.submit(http.post, "/predict", json={"text": "[hang]"})
        bad.wait_for_misses(misses + 1)
        bad.terminate()
        assert late.result().status_code == 503
        bad.wait()
        text += bad.log.read_text()
    with serve(backend="mock", backend_timeout_ms="300") as hanging, hanging.client() as http:
        assert http.post("/predict", json={"text": "[hang]"}).status_code == 500
        hanging.wait()
        text += hanging.log.read_text()
    models = folder / "models.yaml"
    models.write_text("models: {en: {versions: [{path: sentiment-en}, {path: missing, shadow: true}]}}\n")
    with serve(models_file=str(models)) as partly:
        partly.wait_for("version failed")
        text += partly.log.read_text()
    file = folder / "log"
    file.write_text(text)
    return file


@pytest.mark.parametrize("pattern", GREP)
def test_log_patterns_of_the_runbook_match_real_logs(pattern: str, log: Path) -> None:
    """Tests each alternative of a pattern, so that every event name is correct."""
    alternatives = re.search(r"\(([\w |]+)\)", pattern)
    for word in alternatives[1].split("|") if alternatives else [""]:
        one = pattern.replace(alternatives[0], word) if alternatives else pattern
        assert subprocess.run(["grep", "-E", one, log], check=False, capture_output=True).stdout, one
