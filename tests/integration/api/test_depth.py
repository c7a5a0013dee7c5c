"""A model with exits: how deep a text goes, over a real socket."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.support.process import Server, serve
from tests.support.waiting import until
from training.evaluation import suite_examples

TEXTS = [example.text for example in suite_examples()[::12]]


@pytest.fixture(scope="module")
def uncached(with_exits: Path) -> Iterator[Server]:
    with serve(model=str(with_exits), cache_entries="0") as server:
        yield server


@pytest.fixture
def http(uncached: Server) -> Iterator[httpx.Client]:
    with uncached.client() as client:
        yield client


def depths(responses: list[httpx.Response]) -> list[str]:
    return [response.headers["x-depth"] for response in responses]


def test_texts_leave_after_different_layers(http: httpx.Client) -> None:
    info = http.get("/info").json()
    assert info["layers"] == 6
    assert info["exits"] == [3, 4]
    found = {*depths([http.post("/predict", json={"text": text}) for text in TEXTS])}
    assert found == {"3/6", "4/6", "6/6"}


def test_the_depth_is_the_same_alone_in_lists_and_beside_others(http: httpx.Client) -> None:
    alone = [http.post("/predict", json={"text": text}) for text in TEXTS]
    with ThreadPoolExecutor(16) as clients:
        beside = [*clients.map(lambda text: http.post("/predict", json={"text": text}), TEXTS)]
    assert depths(beside) == depths(alone)
    listed = http.post("/predict/batch", json={"texts": TEXTS})
    assert listed.headers["x-depth"] == max(depths(alone))
    for one, two, three in zip(alone, beside, listed.json()["predictions"], strict=True):
        for other in (two.json(), three):
            assert other["label"] == one.json()["label"]
            assert other["scores"] == pytest.approx(one.json()["scores"], abs=0.0011)  # rounded to four digits


def test_the_cache_keeps_the_depth(with_exits: Path) -> None:
    with serve(model=str(with_exits)) as server, server.client() as http:
        first = [http.post("/predict", json={"text": text}) for text in TEXTS[:9]]
        again = [http.post("/predict", json={"text": text}) for text in TEXTS[:9]]
    assert {response.headers["x-cache"] for response in again} == {"hit"}
    assert depths(again) == depths(first)


def test_metrics_count_texts_by_depth(http: httpx.Client) -> None:
    def counts() -> dict[str, float]:
        found = re.findall(r'sentiment_depth_total\{layers="(\d)",[^}]*\} (\S+)', http.get("/metrics").text)
        return {layers: float(count) for layers, count in found}

    before = counts()
    answers = depths([http.post("/predict", json={"text": text}) for text in TEXTS[:20]])
    after = counts()
    for layers in ("3", "4", "6"):
        assert after.get(layers, 0) - before.get(layers, 0) == answers.count(f"{layers}/6")


def test_explanations_come_from_a_model_with_exits(http: httpx.Client) -> None:
    response = http.post("/predict", json={"text": "The room was lovely, but the food was cold.", "explain": True})
    words = response.json()["explanation"]
    assert any(word["weight"] > 0 for word in words)
    assert any(word["weight"] < 0 for word in words)


def test_without_exits_there_is_no_depth(with_exits: Path) -> None:
    with serve(model=str(with_exits), depth="full") as server, server.client() as http:
        info = http.get("/info").json()
        assert (info["layers"], info["exits"]) == (0, [])
        response = http.post("/predict", json={"text": TEXTS[0]})
        assert "x-depth" not in response.headers
        assert "sentiment_depth_total{" not in http.get("/metrics").text


def test_in_a_brownout_answers_are_shallow_and_not_cached(with_exits: Path) -> None:
    # One slot, and a limit that the second text in the queue exceeds.
    with serve(model=str(with_exits), brownout_ms="0.001", slots="1") as server, server.client() as http:
        plain = {text: http.post("/predict", json={"text": text}) for text in TEXTS[:3]}
        assert all("shallow" not in response.json() for response in plain.values())
        texts = [f"{text} {number}" for number in range(12) for text in TEXTS]
        with ThreadPoolExecutor(32) as clients:
            answers = dict(
                zip(texts, clients.map(lambda text: http.post("/predict", json={"text": text}), texts), strict=True)
            )
        shallow = {text: response for text, response in answers.items() if response.json().get("shallow")}
        assert shallow
        assert {*depths([*shallow.values()])} <= {"3/6", "4/6"}
        assert all(response.status_code == 200 for response in answers.values())

        until(lambda: http.get("/healthz").json()["queue_depth"] == 0)
        for text in [*shallow][:5]:  # a lone text is not refused its layers
            again = http.post("/predict", json={"text": text})
            assert again.headers["x-cache"] == "miss"
            assert "shallow" not in again.json()
            assert again.headers["x-depth"] > shallow[text].headers["x-depth"]
        for text, response in plain.items():
            assert http.post("/predict", json={"text": text}).json() == response.json()
        assert re.search(r"^sentiment_shallow_total\{[^}]*\} [1-9]", http.get("/metrics").text, flags=re.MULTILINE)


def test_who_cannot_be_told_gets_no_shallow_answer(with_exits: Path) -> None:
    """Explanations compare scores, and other protocols have no field for it."""
    asked = [f"{text} {number}" for number in range(4) for text in TEXTS]

    def explained(text: str) -> str:
        body = http.post("/predict", json={"text": text, "explain": True}).json()
        return "shallow" if body.get("shallow") else "deep"

    def score(text: str) -> float:
        return float(http.post("/", json={"inputs": text}).json()[0][0]["score"])

    settings = {"model": str(with_exits), "brownout_ms": "0.001", "slots": "1", "cache_entries": "0"}
    with serve(**settings) as server, server.client() as http, ThreadPoolExecutor(48) as clients:
        calm = [score(text) for text in asked[:12]]
        busy = [clients.submit(http.post, "/predict", json={"text": text}) for text in asked]
        explanations = [clients.submit(explained, text) for text in asked[:6]]  # the same texts, so they could join
        scores = [clients.submit(score, text) for text in asked[:12]]
        assert {future.result() for future in explanations} == {"deep"}
        assert [future.result() for future in scores] == pytest.approx(calm, abs=0.0011)
        assert any(future.result().json().get("shallow") for future in busy)
