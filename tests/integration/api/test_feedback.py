"""`POST /feedback` over a real socket."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.access import add_key
from app.config import SettingsError, load_settings
from app.main import create_app
from tests.support.process import Server, serve

INFER = {"inputs": [{"name": "TEXT", "datatype": "BYTES", "shape": [2], "data": ["good", "bad"]}]}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve(backend="mock", feedback="true") as running:
        yield running


def predict(server: Server, body: Any, path: str = "/predict", request_id: str | None = None) -> str:
    """Return the id of a request for a prediction."""
    response = server.post(body, path, headers={"X-Request-ID": request_id} if request_id else {})
    assert response.status_code == 200, response.text
    return response.headers["x-request-id"]


def say(server: Server, request_id: str, label: str, **fields: Any) -> httpx.Response:
    return server.post({"request_id": request_id, "label": label} | fields, "/feedback")


def test_feedback_for_a_text_is_taken(server: Server) -> None:
    response = say(server, predict(server, {"text": "good"}), "negative")
    assert (response.status_code, response.content) == (204, b"")
    assert "x-model" not in response.headers


def test_a_text_from_the_cache_gets_feedback_too(server: Server) -> None:
    for _ in range(2):
        assert say(server, predict(server, {"text": "cached"}), "neutral").status_code == 204


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/predict/batch", {"texts": ["good", "bad"]}),
        ("/", {"inputs": ["good", "bad"]}),
        ("/v2/models/mock/infer", INFER),
    ],
)
def test_each_text_of_a_list_has_its_place(server: Server, path: str, body: Any) -> None:
    request_id = predict(server, body, path)
    assert [say(server, request_id, "neutral", index=index).status_code for index in range(3)] == [204, 204, 422]
    assert say(server, request_id, "neutral", index=2).json()["errors"] == [
        {"loc": ["body", "index"], "msg": "the index must be less than 2, the number of texts of the request for which "
         "feedback can be given"}
    ]  # fmt: skip


def test_places_are_those_of_the_request_even_if_texts_have_errors(server: Server) -> None:
    request_id = predict(server, {"texts": [None, "good", " "], "partial": True}, "/predict/batch")
    answers = [say(server, request_id, "positive", index=index) for index in range(3)]
    assert [answer.status_code for answer in answers] == [422, 204, 422]
    assert answers[0].json()["detail"] == "body.index: this text got no prediction"


def test_the_metrics_count_whether_labels_were_right() -> None:
    with serve(backend="mock", feedback="true") as server:
        request_id = predict(server, {"texts": ["good", "good"]}, "/predict/batch")
        for label, index in (("positive", 0), ("negative", 1), ("negative", 1), ("positive", 9)):
            say(server, request_id, label, index=index)
        counts = [server.metric(f'sentiment_feedback_total{{outcome="{outcome}"}}') for outcome in ("right", "wrong")]
    assert counts == [1, 2]


def test_an_unknown_request_is_not_found(server: Server) -> None:
    response = say(server, "unknown", "positive")
    assert response.status_code == 404
    assert response.json()["detail"] == (
        "there is no prediction with this request id; each process keeps the ids of its last 10 000 requests"
    )
    failed = server.post({"text": "[fail]"}, headers={"X-Request-ID": "failed"})
    assert failed.status_code == 500
    assert say(server, "failed", "positive").status_code == 404


@pytest.mark.parametrize(
    ("fields", "detail"),
    [
        ({"label": "joy"}, "body.label: the model has no such label; it has negative, neutral, positive"),
        ({"label": ""}, "body.label: String should have at least 1 character"),
        ({"label": 3}, "body.label: Input should be a valid string"),
        ({"index": -1}, "body.index: Input should be greater than or equal to 0"),
        ({"request_id": "two words"}, "body.request_id: String should match pattern '^[!-~]{1,128}$'"),
        ({"text": "good"}, "body: unknown field; expected index, label, request_id"),
    ],
)
def test_what_does_not_fit_is_refused(server: Server, fields: dict[str, Any], detail: str) -> None:
    request_id = predict(server, {"text": "good"}, request_id="fits")
    response = server.post({"request_id": request_id, "label": "positive"} | fields, "/feedback")
    assert (response.status_code, response.json()["detail"]) == (422, detail)


def test_other_bodies_are_refused(server: Server) -> None:
    url = f"{server.address}/feedback"
    json = {"content-type": "application/json"}
    assert httpx.post(url, content=b"{", headers=json).status_code == 400
    assert httpx.post(url, content=b"{}").status_code == 415
    assert httpx.post(url, content=b" " * 5000, headers=json).status_code == 413
    assert httpx.get(url).status_code == 405


def test_nothing_of_the_feedback_is_in_the_log(server: Server) -> None:
    say(server, predict(server, {"text": "good"}, request_id="logged"), "neutral")
    server.post({"request_id": "logged", "label": "a secret label"}, "/feedback")
    assert "secret" not in server.log.read_text()


def test_by_default_feedback_is_off_and_says_so(mock_server: Server) -> None:
    response = say(mock_server, "any", "positive")
    assert (response.status_code, response.headers["retry-after"]) == (503, "3600")
    assert response.json()["detail"] == "feedback is off: the setting SENTIMENT_FEEDBACK is false"


def test_feedback_needs_the_key_of_the_prediction(tmp_path: Path) -> None:
    file = tmp_path / "keys.yaml"
    mine, other, jobs = (add_key(file, name, scopes=scopes) for name, scopes in
                         (("mine", ["predict"]), ("other", ["predict"]), ("jobs", ["jobs"])))  # fmt: skip
    with serve(backend="mock", feedback="true", api_keys_file=str(file)) as server:
        sent = server.post({"text": "good"}, headers={"X-API-Key": mine, "X-Request-ID": "1"})
        assert sent.status_code == 200
        said = {"request_id": "1", "label": "neutral"}
        statuses = [
            server.post(said, "/feedback", headers={"X-API-Key": key} if key else {}).status_code
            for key in ("", jobs, other, mine)
        ]
    assert statuses == [401, 403, 404, 204]


def test_several_workers_cannot_take_feedback() -> None:
    with pytest.raises(SettingsError, match="FEEDBACK needs WORKERS=1, because feedback could reach another worker"):
        load_settings({"feedback": True, "workers": 2, "backend": "mock"})
    assert load_settings({"feedback": True}).feedback


def test_while_it_is_off_nothing_is_remembered() -> None:
    for setting in (False, True):
        app = create_app(load_settings({"backend": "mock", "feedback": setting}))
        endpoint = app.asgi._endpoints["/predict"]  # type: ignore[attr-defined]
        assert (endpoint.feedback is not None) == setting
