"""`"explain": true` over a real socket, with the real model."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import httpx
import pytest

from tests.support.process import Server, serve

TEXT = "Honestly, the 🩷 staff @desk were lovely &amp; kind, but <b>breakfast</b> couldn\u2019t be worse: https://x.example/a?b=1"
WORDS = [
    *(
        "Honestly",
        "the",
        "🩷",
        "staff",
        "@desk",
        "were",
        "lovely",
        "&amp;",
        "kind",
        "but",
        "breakfast",
        "couldn\u2019t",
        "be",
    ),
    *("worse", "https://x.example/a?b=1"),
]


@pytest.fixture
def http(server: Server) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


def explain(http: httpx.Client, text: str, **options: Any) -> dict[str, Any]:
    response = http.post("/predict", json={"text": text, "explain": True} | options)
    assert response.status_code == 200, response.text
    return response.json()  # type: ignore[no-any-return]


def weights(answer: dict[str, Any], text: str) -> dict[str, float]:
    return {text[each["start"] : each["end"]]: each["weight"] for each in answer["explanation"]}


def test_offsets_are_those_of_the_given_text(http: httpx.Client) -> None:
    explanation = explain(http, TEXT)["explanation"]
    assert [TEXT[each["start"] : each["end"]] for each in explanation] == WORDS
    assert all(first["end"] <= second["start"] for first, second in pairwise(explanation))


def test_the_words_that_matter_have_the_largest_weights(http: httpx.Client) -> None:
    text = "The film was wonderful."
    answer = explain(http, text)
    assert answer["label"] == "positive"
    assert max(weights(answer, text), key=weights(answer, text).__getitem__) == "wonderful"
    text = "The food was great, but the waiter was terribly rude."
    answer = explain(http, text)
    assert answer["label"] == "negative"
    assert weights(answer, text)["rude"] > 0 > weights(answer, text)["great"]


def test_an_explanation_changes_nothing_else(http: httpx.Client) -> None:
    plain = http.post("/predict", json={"text": TEXT, "top_k": 2}).json()
    explained = explain(http, TEXT, top_k=2)
    assert {name: value for name, value in explained.items() if name != "explanation"} == plain


def test_an_explanation_is_the_same_each_time(http: httpx.Client) -> None:
    with serve(cache_entries="0") as other, other.client() as uncached:
        first, second = explain(uncached, TEXT), explain(uncached, TEXT)
    assert first == second == explain(http, TEXT)


def test_a_list_explains_each_of_its_texts(http: httpx.Client) -> None:
    texts = ["Never again.", " ", "Loved it!"]
    body = {"texts": texts, "explain": True, "partial": True}
    first, failed, last = http.post("/predict/batch", json=body).json()["predictions"]
    assert first == explain(http, texts[0])
    assert failed["error"]["status"] == 422
    assert last == explain(http, texts[2])


def test_more_than_16_texts_are_not_explained(http: httpx.Client) -> None:
    assert http.post("/predict/batch", json={"texts": ["good"] * 16, "explain": True}).status_code == 200
    response = http.post("/predict/batch", json={"texts": ["good"] * 17, "explain": True})
    assert response.status_code == 413
    assert "at most 16 texts" in response.json()["detail"]


def test_explain_must_be_a_boolean(http: httpx.Client) -> None:
    response = http.post("/predict", json={"text": "good", "explain": "yes"})
    assert response.status_code == 422
    assert response.json()["errors"][0]["loc"] == ["body", "explain"]


def test_long_texts_are_not_explained(http: httpx.Client) -> None:
    assert http.post("/predict", json={"text": "x" * 2000, "explain": True}).status_code == 200
    response = http.post("/predict", json={"text": "x" * 2001, "explain": True})
    assert response.status_code == 413
    body = {"texts": ["good", "x" * 2001], "explain": True}
    assert "body.texts.1" in http.post("/predict/batch", json=body).json()["detail"]
    first, second = http.post("/predict/batch", json=body | {"partial": True}).json()["predictions"]
    assert first["explanation"]
    assert second["error"]["status"] == 413


@pytest.mark.parametrize(
    "text", ["<b>good</b>", "<p>I like it</p>", "good &nbsp;&nbsp;", "\u115f good", "\ufdfa " * 500]
)
def test_every_text_that_has_a_prediction_has_an_explanation(http: httpx.Client, text: str) -> None:
    assert http.post("/predict", json={"text": text}).status_code == 200
    assert "explanation" in explain(http, text)


def test_a_variant_on_which_the_model_fails_fails_its_text(mock_server: Server) -> None:
    texts = ["nice one", "x [\u597dfail] good"]  # without the second character, the mock fails
    with mock_server.client() as http:
        body = {"texts": texts, "explain": True}
        whole = http.post("/predict/batch", json=body)
        assert whole.status_code == 500
        assert "texts.1" in whole.json()["detail"]
        first, second = http.post("/predict/batch", json=body | {"partial": True}).json()["predictions"]
    assert first["explanation"]
    assert second["error"]["status"] == 500


def test_the_deadline_covers_the_explanation() -> None:
    with serve(backend="mock", mock_delay_ms="600", cache_entries="0") as server, server.client() as http:
        headers = {"X-Request-Timeout-Ms": "1000"}
        assert http.post("/predict", json={"text": "good"}, headers=headers).status_code == 200
        response = http.post("/predict", json={"text": "good", "explain": True}, headers=headers)
    assert response.status_code in (429, 504)
