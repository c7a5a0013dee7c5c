"""`"partial": true` in POST /predict/batch, over a real socket: what is wrong with one text is told in its place."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.process import Server, serve

JSON = {"content-type": "application/json"}
FIELDS = {"label", "confidence", "scores", "truncated"}
BLANK = {"error": {"status": 422, "detail": "the text has no visible character"}}
FAILED = {"error": {"status": 500, "detail": "the model failed on this text"}}


@pytest.fixture
def http(mock_server: Server) -> Iterator[httpx.Client]:
    with mock_server.client() as client:
        yield client


def predictions(http: httpx.Client, texts: list[Any], **options: Any) -> list[dict[str, Any]]:
    body = json.dumps({"texts": texts, "partial": True} | options)  # httpx cannot send lone surrogates
    response = http.post("/predict/batch", content=body, headers=JSON)
    assert response.status_code == 200, response.text
    places = response.json()["predictions"]
    assert len(places) == len(texts)
    return places  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("text", "status", "detail"),
    [
        ("", 422, "the text has no visible character"),
        (" \n\t", 422, "the text has no visible character"),
        ("\u200b\u2060", 422, "the text has no visible character"),
        (None, 422, "the text is not a string"),
        (5, 422, "the text is not a string"),
        (True, 422, "the text is not a string"),
        (["good"], 422, "the text is not a string"),
        ({"text": "good"}, 422, "the text is not a string"),
        ("\ud83d", 422, "the text has an incomplete surrogate pair"),
        ("good \udc00 good", 422, "the text has an incomplete surrogate pair"),
        ("x" * 10_001, 413, "more than 10000 characters"),
        ("\ufdfa" * 1000, 413, "more than 10000 characters"),
        ("good " * 1900, 413, "more than 512 tokens"),
        ("good [fail]", 500, "the model failed on this text"),
        ("good [nan]", 500, "the model failed on this text"),
    ],
)
def test_a_bad_text_fails_alone(http: httpx.Client, text: Any, status: int, detail: str) -> None:
    first, bad, last = predictions(http, ["so good", text, "so bad"], truncate=False)
    assert (first["label"], last["label"]) == ("positive", "negative")
    assert bad.keys() == {"error"}
    assert bad["error"].keys() == {"status", "detail"}
    assert bad["error"]["status"] == status
    assert detail in bad["error"]["detail"]
    alone = http.post("/predict", content=json.dumps({"text": text, "truncate": False}), headers=JSON)
    assert alone.status_code == (400 if "surrogate" in detail else status)


def test_each_place_answers_its_own_text(http: httpx.Client) -> None:
    texts = ["good", " ", 1, "bad", "[fail] a", "good", "", "[fail] b", " ", "fine"]
    places = predictions(http, texts, top_k=1)
    assert [each["label"] if "label" in each else each["error"]["status"] for each in places] == [
        "positive", 422, 422, "negative", 500, "positive", 422, 500, 422, "neutral",
    ]  # fmt: skip
    assert places[0] == places[5]
    assert all(len(each["scores"]) == 1 for each in places if "scores" in each)


def test_without_bad_texts_the_response_is_the_usual_one(http: httpx.Client) -> None:
    texts = ["a lovely day", "an ugly day", "a day"]
    usual = http.post("/predict/batch", json={"texts": texts}).json()
    assert {"predictions": predictions(http, texts)} == usual
    assert all(set(each) == FIELDS for each in usual["predictions"])


@pytest.mark.parametrize("texts", [[" "], ["", ""], [1, None, "\ud800", " \u200b"]])
def test_all_texts_may_be_bad(http: httpx.Client, texts: list[Any]) -> None:
    assert [each["error"]["status"] for each in predictions(http, texts)] == [422] * len(texts)


def test_texts_read_in_windows_fail_alone(http: httpx.Client) -> None:
    long = "good " * 1500
    places = predictions(http, [long, long + "[fail]", " "], long_text="window")
    assert places[0]["label"] == "positive"
    assert places[1:] == [FAILED, BLANK]


@pytest.mark.parametrize(
    ("body", "status", "detail"),
    [
        ({"texts": [" "], "partial": "true"}, 422, "body.partial"),
        ({"texts": [" ", 1], "partial": 1}, 422, "body.texts.1"),
        ({"texts": [" ", 1], "partial": False}, 422, "body.texts.1"),
        (
            {"texts": [" ", 1], "partial": True, "more": 1},
            422,
            "unknown field; expected explain, long_text, model, partial, texts",
        ),
        ({"texts": [" ", 1], "partial": True, "top_k": 0}, 422, "body.top_k"),
        ({"texts": [], "partial": True}, 422, "body.texts"),
        ({"texts": "good", "partial": True}, 422, "body.texts"),
        ({"partial": True}, 422, "body.texts"),
        ({"texts": [1] * 257, "partial": True}, 413, "the list has more than 256 texts"),
        ({"texts": ["[slow] in a partial list", 1], "partial": True}, 504, "deadline"),
        ({"texts": ["\ud800"]}, 400, "surrogate pair"),
        ({"text": "good", "partial": True}, 422, "body.texts"),
    ],
)
def test_what_is_wrong_with_the_request_fails_all_of_it(
    http: httpx.Client, body: object, status: int, detail: str
) -> None:
    headers = JSON | ({"x-request-timeout-ms": "500"} if status == 504 else {})
    response = http.post("/predict/batch", content=json.dumps(body), headers=headers)
    assert response.status_code == status
    assert detail in response.json()["detail"]


def test_partial_is_no_field_of_a_single_text(http: httpx.Client) -> None:
    response = http.post("/predict", json={"text": "good", "partial": True})
    assert response.status_code == 422


@pytest.mark.parametrize(
    "body", [b"[" * 200_000, b'{"partial": true, "texts": ' + b"[" * 200_000, b'{"texts": [\xff]}']
)
def test_broken_json_is_broken_with_partial_too(http: httpx.Client, body: bytes) -> None:
    response = http.post("/predict/batch", content=body, headers=JSON)
    assert response.status_code == 400


@pytest.mark.parametrize(
    ("texts", "detail"),
    [
        (["good", "bad [fail]", "fine"], "body.texts.1: the model failed on this text"),
        (["[nan]"], "body.texts.0: the model failed on this text"),
    ],
)
def test_a_list_that_is_not_partial_names_the_text_that_failed(
    http: httpx.Client, texts: list[str], detail: str
) -> None:
    response = http.post("/predict/batch", json={"texts": texts})
    assert (response.status_code, response.json()["detail"]) == (500, detail)


def test_failures_of_the_model_are_logged_once_a_request(http: httpx.Client, mock_server: Server) -> None:
    request_id = "partial-1"
    body = {"texts": ["[fail] secretwords", "good", "[fail] 2"], "partial": True}
    http.post("/predict/batch", json=body, headers={"x-request-id": request_id})
    mock_server.wait_for("request", request_id=request_id)
    (failure,) = [line for line in mock_server.events("prediction failed") if line["request_id"] == request_id]
    assert (failure["error"], failure["texts"]) == ("RuntimeError", 2)
    assert "secretwords" not in mock_server.log.read_text()


def test_every_place_counts_towards_the_rate_limit() -> None:
    with serve(backend="mock", rate_limit="10/hour") as server:
        response = server.post({"texts": ["good", 1, " "], "partial": True}, "/predict/batch")
        assert response.headers["ratelimit-remaining"] == "7"
        assert server.post({"texts": [1, " "], "partial": True}, "/predict/batch").status_code == 200
        assert server.post({"texts": [1] * 6, "partial": True}, "/predict/batch").status_code == 429
