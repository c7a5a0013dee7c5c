"""The option `long_text`, over a real socket."""

from collections.abc import Iterator

import httpx
import pytest

from tests.integration.test_long_texts import BLAME, PRAISE
from tests.support.process import Server, serve

LONG = PRAISE * 45 + BLAME * 105


@pytest.fixture
def http(server: Server) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


def test_a_verdict_at_the_end_counts_in_windows_and_not_when_truncated(http: httpx.Client) -> None:
    assert len(LONG) < 10_000
    truncated = http.post("/predict", json={"text": LONG, "long_text": "truncate"}).json()
    windowed = http.post("/predict", json={"text": LONG, "long_text": "window"}).json()
    assert (truncated["label"], truncated["truncated"]) == ("positive", True)
    assert (windowed["label"], windowed["truncated"]) == ("negative", False)
    assert windowed["confidence"] == windowed["scores"]["negative"]
    assert sum(windowed["scores"].values()) == pytest.approx(1, abs=2e-4)
    assert http.post("/predict", json={"text": LONG}).json() == truncated  # the default


def test_a_text_that_fits_is_the_same_with_and_without_it(http: httpx.Client) -> None:
    answers = [http.post("/predict", json={"text": PRAISE, **option}) for option in ({}, {"long_text": "window"})]
    assert answers[0].json() == answers[1].json()
    assert answers[1].headers["x-cache"] == "hit"


def test_in_a_list_it_holds_for_every_text_that_is_too_long(http: httpx.Client) -> None:
    body = {"texts": [BLAME, LONG, "The shop opens at nine.", LONG], "long_text": "window", "top_k": 1}
    predictions = http.post("/predict/batch", json=body).json()["predictions"]
    assert [prediction["label"] for prediction in predictions][::3] == ["negative", "negative"]
    assert predictions[1] == predictions[3]
    assert not any(prediction["truncated"] for prediction in predictions)
    assert all(len(prediction["scores"]) == 1 for prediction in predictions)


def test_nothing_is_refused_for_what_is_not_cut_off(http: httpx.Client) -> None:
    assert http.post("/predict", json={"text": LONG, "truncate": False}).status_code == 413
    accepted = http.post("/predict", json={"text": LONG, "truncate": False, "long_text": "window"})
    assert accepted.status_code == 200
    assert accepted.json()["truncated"] is False


def test_the_longest_text_there_may_be_is_answered(http: httpx.Client) -> None:
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


def test_more_windows_than_may_ever_wait_are_too_long() -> None:
    with serve(backend="mock", max_queue_texts="2", max_batch_texts="2") as server, server.client() as http:
        refused = http.post("/predict", json={"text": "good " * 1500, "long_text": "window"})
        assert refused.status_code == 413
        assert refused.json()["detail"] == "the request has more than 2 texts and windows"
        assert http.post("/predict", json={"text": "good " * 1000, "long_text": "window"}).status_code == 200


@pytest.mark.parametrize("value", ["windows", "", None, True])
def test_another_value_is_refused(http: httpx.Client, value: object) -> None:
    response = http.post("/predict", json={"text": "a", "long_text": value})
    assert response.status_code == 422
    assert response.json()["errors"][0]["loc"] == ["body", "long_text"]
    assert "'truncate' or 'window'" in response.json()["detail"]


@pytest.mark.parametrize("schema", ["PredictRequest", "BatchRequest"])
def test_the_openapi_document_has_it(http: httpx.Client, schema: str) -> None:
    stated = http.get("/openapi.json").json()["components"]["schemas"][schema]["properties"]["long_text"]
    assert (stated["enum"], stated["default"]) == (["truncate", "window"], "truncate")
    assert "averaged" in stated["description"]
