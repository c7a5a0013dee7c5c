"""The option `long_text`, over a real socket."""

from collections.abc import Iterator

import httpx
import pytest

from tests.support.process import Server, serve
from tests.support.texts import BLAME, PRAISE

LONG = PRAISE * 45 + BLAME * 105


@pytest.fixture
def http(server: Server) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


def test_the_end_of_a_text_counts_in_windows_only(http: httpx.Client) -> None:
    assert len(LONG) < 10_000
    truncated = http.post("/predict", json={"text": LONG, "long_text": "truncate"}).json()
    windowed = http.post("/predict", json={"text": LONG, "long_text": "window"}).json()
    assert (truncated["label"], truncated["truncated"]) == ("positive", True)
    assert (windowed["label"], windowed["truncated"]) == ("negative", False)
    assert windowed["confidence"] == windowed["scores"]["negative"]
    assert sum(windowed["scores"].values()) == pytest.approx(1, abs=2e-4)
    assert http.post("/predict", json={"text": LONG}).json() == truncated  # the default


def test_a_text_that_fits_gets_one_answer_with_both_options(http: httpx.Client) -> None:
    answers = [http.post("/predict", json={"text": PRAISE, **option}) for option in ({}, {"long_text": "window"})]
    assert answers[0].json() == answers[1].json()
    assert answers[1].headers["x-cache"] == "hit"


def test_the_option_applies_to_every_long_text_of_a_list(http: httpx.Client) -> None:
    body = {"texts": [BLAME, LONG, "The shop opens at nine.", LONG], "long_text": "window", "top_k": 1}
    predictions = http.post("/predict/batch", json=body).json()["predictions"]
    assert [prediction["label"] for prediction in predictions][::3] == ["negative", "negative"]
    assert predictions[1] == predictions[3]
    assert not any(prediction["truncated"] for prediction in predictions)
    assert all(len(prediction["scores"]) == 1 for prediction in predictions)


def test_a_text_in_windows_passes_where_truncation_is_forbidden(http: httpx.Client) -> None:
    assert http.post("/predict", json={"text": LONG, "truncate": False}).status_code == 413
    accepted = http.post("/predict", json={"text": LONG, "truncate": False, "long_text": "window"})
    assert accepted.status_code == 200
    assert accepted.json()["truncated"] is False


def test_a_text_with_the_most_characters_is_answered(http: httpx.Client) -> None:
    response = http.post("/predict", json={"text": "!" * 10_000, "long_text": "window"})
    assert response.status_code == 200
    assert response.json()["truncated"] is False


def test_a_failing_window_fails_its_request(mock_server: Server) -> None:
    with mock_server.client() as http:
        text = "good " * 900
        assert http.post("/predict", json={"text": text, "long_text": "window"}).status_code == 200
        for option, status in (("window", 500), ("truncate", 200)):
            response = http.post("/predict", json={"text": f"{text} [fail]", "long_text": option})
            assert response.status_code == status


def test_more_windows_than_the_queue_holds_get_413() -> None:
    with serve(backend="mock", max_queue_texts="2", max_batch_texts="2") as server, server.client() as http:
        refused = http.post("/predict", json={"text": "good " * 1500, "long_text": "window"})
        assert refused.status_code == 413
        assert refused.json()["detail"] == "the request has more than 2 texts and windows"
        assert http.post("/predict", json={"text": "good " * 1000, "long_text": "window"}).status_code == 200


@pytest.mark.parametrize("value", ["windows", "", None, True])
def test_an_unknown_value_gets_422(http: httpx.Client, value: object) -> None:
    response = http.post("/predict", json={"text": "a", "long_text": value})
    assert response.status_code == 422
    assert response.json()["errors"][0]["loc"] == ["body", "long_text"]
    assert "'truncate' or 'window'" in response.json()["detail"]


@pytest.mark.parametrize("schema", ["PredictRequest", "BatchRequest"])
def test_the_openapi_document_describes_the_option(http: httpx.Client, schema: str) -> None:
    option = http.get("/openapi.json").json()["components"]["schemas"][schema]["properties"]["long_text"]
    assert (option["enum"], option["default"]) == (["truncate", "window"], "truncate")
    assert "averaged" in option["description"]
