"""Several models and versions of a real server: who answers, and what the server says about them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.access import add_key
from tests.support.process import Server
from tests.support.served import serving_models

TEXT = {"text": "good"}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving_models(tmp_path_factory.mktemp("models")) as server:
        yield server


def infer(server: Server, path: str) -> httpx.Response:
    tensor = {"name": "TEXT", "shape": [1], "datatype": "BYTES", "data": ["good"]}
    return server.post({"inputs": [tensor]}, f"/v2/models/{path}/infer")


def index(server: Server, body: str = "", **headers: str) -> Any:
    response = httpx.post(f"{server.address}/v2/repository/index", content=body, headers=headers, timeout=30)
    assert response.status_code == 200, response.text
    return response.json()


@pytest.mark.parametrize(
    ("path", "body", "answers"),
    [
        ("/predict", TEXT, "one@mock"),
        ("/predict", TEXT | {"model": "one"}, "one@mock"),
        ("/predict", TEXT | {"model": "two"}, "two@mock"),
        ("/predict/batch", {"texts": ["good"], "model": "two"}, "two@mock"),
        ("/models/two/predict", TEXT, "two@mock"),
        ("/models/two/predict", TEXT | {"model": "two"}, "two@mock"),
        ("/models/two/predict/batch", {"texts": ["good"]}, "two@mock"),
        ("/", {"inputs": "good"}, "one@mock"),
    ],
)
def test_a_model_answers_by_its_name(served: Server, path: str, body: dict[str, Any], answers: str) -> None:
    response = served.post(body, path)
    assert response.status_code == 200, response.text
    assert response.headers["x-model"] == answers


@pytest.mark.parametrize(
    ("path", "body", "status", "detail"),
    [
        ("/predict", TEXT | {"model": "three"}, 404, "no such model; this server has one, two"),
        ("/models/three/predict", TEXT, 404, "no such model; this server has one, two"),
        ("/models/one/predict", TEXT | {"model": "two"}, 422, "body.model: the path names another model"),
    ],
)
def test_another_model_is_refused(served: Server, path: str, body: Any, status: int, detail: str) -> None:
    response = served.post(body, path)
    assert (response.status_code, response.json()["detail"]) == (status, detail)


def test_a_stream_names_its_model_as_it_is_written(served: Server) -> None:
    headers = {"content-type": "application/x-ndjson"}
    line = json.dumps(TEXT)
    answer = httpx.post(f"{served.address}/predict/stream?model=two", content=line, headers=headers, timeout=30)
    assert answer.headers["x-model"] == "two@mock"
    # A name may look like another value of JSON.
    for name in ("2026", "true", "null"):
        response = httpx.post(
            f"{served.address}/predict/stream?model={name}", content=line, headers=headers, timeout=30
        )
        assert response.status_code == 404, name


def test_the_list_has_all_models_and_versions(served: Server) -> None:
    one, two = served.get("/models").json()["models"]
    assert [(one["name"], one["default"]), (two["name"], two["default"])] == [("one", True), ("two", False)]
    assert [version["version"] for version in one["versions"]] == ["one@mock", "one@mock+2", "one@mock+3"]
    assert [version["share"] for version in one["versions"]] == [1, 0, 0]
    assert served.get("/models/two").json().keys() == two.keys()
    assert served.get("/models/three").status_code == 404
    assert served.get("/models/one/predict").status_code == 405


def test_open_inference_reaches_each_version(served: Server) -> None:
    versions = {"one": ["mock", "mock-2", "mock-3"], "two": ["mock"]}
    for name, each in versions.items():
        assert served.get(f"/v2/models/{name}").json()["versions"] == each
        for version in each:
            assert served.get(f"/v2/models/{name}/versions/{version}").json()["versions"] == [version]
            assert served.get(f"/v2/models/{name}/versions/{version}/ready").json() == {"name": name, "ready": True}
            response = infer(served, f"{name}/versions/{version}")
            assert (response.json()["model_name"], response.json()["model_version"]) == (name, version)
            assert response.headers["x-model"] == f"{name}@{version.replace('-', '+')}"
    assert infer(served, "one").headers["x-model"] == "one@mock"
    assert infer(served, "two").headers["x-model"] == "two@mock"
    unknown = infer(served, "one/versions/9")
    assert (unknown.status_code, unknown.json()) == (
        404, {"error": "no such version; this server has mock, mock-2, mock-3 of one"}
    )  # fmt: skip


def test_a_shadow_that_a_client_asks_is_not_compared_with_itself(served: Server) -> None:
    before = served.get("/models/one").json()["versions"][2]
    for _ in range(3):
        assert infer(served, "one/versions/mock-3").status_code == 200
    after = served.get("/models/one").json()["versions"][2]
    assert after["requests"] == before["requests"] + 3
    assert after["compared"] == before["compared"]


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        ("", {}),
        ("{}", {"content-type": "application/json"}),
        ('{"ready": false, "other": 1}', {"content-type": "text/plain"}),
        ('{"ready": true}', {}),
    ],
)
def test_the_repository_index_lists_every_version(served: Server, body: str, headers: dict[str, str]) -> None:
    ready = {"state": "READY", "reason": ""}
    assert index(served, body, **headers) == [
        {"name": "one", "version": "mock"} | ready,
        {"name": "one", "version": "mock-2"} | ready,
        {"name": "one", "version": "mock-3"} | ready,
        {"name": "two", "version": "mock"} | ready,
    ]


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ("{", 400, "the body is not valid JSON"),
        ("[]", 422, "body: "),
        ('{"ready": "yes"}', 422, "body.ready: Input should be a valid boolean"),
        (" " * 5000, 413, "the body is larger than 4096 bytes"),
    ],
)
def test_another_body_of_the_index_is_refused(served: Server, body: str, status: int, error: str) -> None:
    response = httpx.post(f"{served.address}/v2/repository/index", content=body, timeout=30)
    assert response.status_code == status
    assert response.json()["error"].startswith(error)


@pytest.mark.parametrize("protected", [False, True])
def test_keys_protect_predictions_and_any_key_shows_the_list(tmp_path: Path, protected: bool) -> None:
    file = tmp_path / "keys.yaml"
    key, jobs = (add_key(file, scope, scopes=[scope]) for scope in ("predict", "jobs"))
    settings = {"api_keys_file": str(file)} | ({"api_keys_for_all": "true"} if protected else {})
    models = "models: {one: {versions: [{path: a}]}}\n"
    with serving_models(tmp_path, models, headers={"X-API-Key": key}, **settings) as server:
        for path in ("/models/one/predict", "/models/one/predict/batch"):
            body = TEXT if path.endswith("predict") else {"texts": ["good"]}
            statuses = [server.post(body, path, headers=headers).status_code for headers in
                        ({}, {"X-API-Key": jobs}, {"X-API-Key": key})]  # fmt: skip
            assert statuses == [401, 403, 200]
        for headers, status in (({}, 401), ({"X-API-Key": jobs}, 200)):
            information = [server.get(path, headers=headers) for path in ("/models", "/models/one")]
            information.append(server.post({}, "/v2/repository/index", headers=headers))
            assert {response.status_code for response in information} == {status}
