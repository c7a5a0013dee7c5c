"""docs/metrics.md lists what a real server exposes, and clients cannot add series."""

import random
import re
import string
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.monitoring import DOCUMENT, Metric, documented, label_values
from tests.support.process import Server, serve
from tests.support.waiting import until

BUCKET = "le"  # a label of every histogram
OPEN = {"model", "model_version", "layers"}  # their values are those of the models file, and of the models


def send_requests(server: Server) -> None:
    """Cause hits, misses, errors of every cheap kind, unknown paths and methods."""
    with server.client() as http:
        for text in ("good", "good", "bad", "word " * 600, "[fail]", "   "):
            http.post("/predict", json={"text": text})
        http.post("/predict/batch", json={"texts": ["good", "a tree"]})
        http.post("/predict/batch", json={"texts": ["x"] * 300})
        http.post("/predict", json={"text": "a tree [slow]"}, headers={"X-Request-Timeout-Ms": "50"})
        http.post("/predict", content=b"{", headers={"content-type": "application/json"})
        http.post("/predict", content=b"text")
        for content in (b'{"text": "good"}\nnonsense', b'{"text": "[fail]"}'):
            http.post("/predict/stream", content=content, headers={"content-type": "application/x-ndjson"})
        for path in ("/", "/docs", "/docs/", "/openapi.json", "/livez", "/readyz", "/healthz", "/info", "/metrics"):
            http.get(path)
        for path in ("/nothing", "/predict", "/predict/", "/static-offline-docs/none", "/static-offline-docs"):
            http.get(path)
        for method in ("HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "BREW"):
            http.request(method, "/predict")


def series(server: Server) -> set[tuple[str, frozenset[tuple[str, str]]]]:
    """The name and the labels of every series."""
    text = server.get("/metrics").text
    samples = re.findall(r"^(\w+)(?:\{(.*)\})? \S+$", text, flags=re.MULTILINE)
    assert len(samples) == sum(not line.startswith("#") for line in text.splitlines())
    return {(name, frozenset(re.findall(r'(\w+)="([^"]*)"', labels))) for name, labels in samples}


def exposed(server: Server) -> dict[str, Metric]:
    """Every metric with its type and the labels of its series, except the bounds of buckets."""
    text = server.get("/metrics").text
    types = dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, flags=re.MULTILINE))
    labels: dict[str, set[str]] = {name: set() for name in types}
    for name, pairs in series(server):
        metric = name if name in types else re.sub(r"_(bucket|sum|count)$", "", name)
        labels[metric] |= {label for label, _ in pairs} - {BUCKET}
    return {name: Metric(kind, frozenset(labels[name])) for name, kind in types.items()}


@pytest.fixture(scope="module")
def used() -> Iterator[Server]:
    with serve(backend="mock") as running:
        send_requests(running)
        yield running


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory, with_exits: Path) -> Iterator[Server]:
    """A server whose model has golden texts, exits, a shadow, and answered enough texts to measure its drift."""
    file = tmp_path_factory.mktemp("served") / "models.yaml"
    file.write_text(
        f"models:\n  en:\n    versions:\n      - {{path: {with_exits}}}\n      - {{path: sentiment-en, shadow: true}}\n"
    )
    with serve(models_file=str(file)) as running, running.client() as http:
        until(lambda: [each["state"] for each in http.get("/models/en").json()["versions"]] == ["ready", "ready"])

        def differences() -> float:
            http.post("/predict", json={"text": "good"})
            text = running.get("/metrics").text
            return sum(map(float, re.findall(r"^sentiment_shadow_difference_count\S+ (\S+)$", text, re.MULTILINE)))

        until(differences)
        for start in (0, 250):
            texts = [f"a good tree {number}" for number in range(start, start + 250)]
            assert http.post("/predict/batch", json={"texts": texts}).status_code == 200
        yield running


# Metrics without a series at the mock backend, which has no golden texts, exits or shadow.
OF_MODELS = {"sentiment_golden_agreement", "sentiment_drift", "sentiment_shadow_difference", "sentiment_depth_total"}


def test_exactly_the_exposed_metrics_are_documented(used: Server, compared: Server) -> None:
    real = exposed(compared)
    assert exposed(used) | {name: real[name] for name in OF_MODELS} == documented()


def test_every_value_of_a_label_is_documented(used: Server, compared: Server) -> None:
    allowed = label_values()
    for label in OPEN:
        assert allowed.pop(label) == set()
    info = {"sentiment_model_info", "python_info"}
    exposed_values: dict[str, set[str]] = {}
    for name, pairs in series(used) | series(compared):
        for label, value in pairs:
            if name not in info and label != BUCKET and label not in OPEN:
                exposed_values.setdefault(label, set()).add(value)
    for label, values in exposed_values.items():
        assert values <= allowed[label], label
    assert exposed_values.keys() == allowed.keys()
    for label in ("reason", "stage", "outcome", "label", "method", "state", "of"):  # exposed before their first event
        assert exposed_values[label] == allowed[label], label


def test_every_route_is_a_documented_handler(used: Server) -> None:
    with used.client() as http:
        assert http.get("/openapi.json").json()["paths"].keys() <= label_values()["handler"]


def test_the_buckets_are_documented(used: Server) -> None:
    document = re.sub(r"\s+", " ", DOCUMENT)
    for metric in (
        "http_request_duration_seconds",
        "sentiment_stage_seconds",
        "sentiment_confidence",
        "sentiment_version_seconds",
    ):
        bounds = {
            float(value)
            for name, pairs in series(used)
            for label, value in pairs
            if name == f"{metric}_bucket" and label == BUCKET and value != "+Inf"
        }
        assert " ".join(f"{bound:g}" for bound in sorted(bounds)) in document, metric


def test_clients_cannot_add_series(used: Server) -> None:
    """Random paths, methods, ids, queries and hosts add no series after a first round of each kind."""
    rng = random.Random(7)

    def word() -> str:
        return "".join(rng.choices(string.ascii_letters, k=12))

    def hammer(http: httpx.Client, rounds: int) -> None:
        for _ in range(rounds):
            headers = {"X-Request-ID": word(), "Host": word(), "User-Agent": word()}
            for prefix in ("", "/predict", "/predict/batch", "/docs", "/static-offline-docs", "/metrics", "/livez"):
                http.get(f"{prefix}/{word()}", headers=headers)
                http.get(f"{prefix}/{word()}/", headers=headers)
                http.get(f"{prefix or '/livez'}?{word()}={word()}", headers=headers)
            for method in (word().upper(), "TRACE", "PROPFIND", "MKCOL", "LOCK", "PURGE"):
                http.request(method, "/predict", headers=headers)
            http.post("/predict", json={"text": f"good {word()}", word(): 1}, headers=headers)
            http.post("/predict", json={"text": f"good {word()}"}, headers=headers)

    with used.client() as http:
        hammer(http, 2)
        before = series(used)
        hammer(http, 30)
    assert series(used) - before == set()
    assert {value for _, pairs in before for label, value in pairs if label == "method"} <= label_values()["method"]
