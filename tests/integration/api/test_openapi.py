"""The OpenAPI document: what `/docs` shows is what the server does."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from app.access import add_key
from tests.support.process import Server, serve

OPERATIONS = {
    "GET /jobs": "list_jobs",
    "POST /jobs/inference": "submit_inference_job",
    "GET /jobs/{id}": "get_job",
    "DELETE /jobs/{id}": "cancel_job",
    "GET /jobs/{id}/status": "get_job_status",
    "GET /jobs/{id}/events": "follow_job",
    "GET /jobs/{id}/result": "get_result",
    "POST /jobs/{id}/retry": "retry_job",
    "/predict": "predict",
    "/predict/batch": "predict_batch",
    "/livez": "livez",
    "/readyz": "readyz",
    "/healthz": "healthz",
    "/info": "info",
    "/metrics": "metrics",
}
JSON = {"content-type": "application/json"}
BLANK = {"/predict": b'{"text": " "}', "/predict/batch": b'{"texts": ["a", " "]}'}
LONG = {"/predict": b'{"text": "%b"}' % (b"a" * 10_001), "/predict/batch": b'{"texts": ["a", "%b"]}' % (b"a" * 10_001)}
SLOW = {"/predict": b'{"text": "[slow] x"}', "/predict/batch": b'{"texts": ["[slow] y"]}'}


def document_of(server: Server) -> dict[str, Any]:
    document: dict[str, Any] = httpx.get(f"{server.address}/openapi.json", timeout=30).json()
    return document


def operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {path: operation for path, methods in document["paths"].items() for operation in methods.values()}


def example(document: dict[str, Any], path: str, status: int) -> dict[str, Any]:
    (content,) = operations(document)[path]["responses"][str(status)]["content"].values()
    shown: dict[str, Any] = content["example"]
    return shown


def same(shown: dict[str, Any], actual: dict[str, Any]) -> bool:
    """Equal, except for the id of the request."""
    return shown | {"request_id": ""} == actual | {"request_id": ""} and list(shown) == list(actual)


def test_operations_have_the_names_of_their_routes(mock_server: Server) -> None:
    document = document_of(mock_server)
    names = {
        f"{method.upper()} {path}" if path.startswith("/jobs") else path: each["operationId"]
        for path, methods in document["paths"].items()
        for method, each in methods.items()
    }
    assert names == OPERATIONS


@pytest.mark.parametrize("path", BLANK)
@pytest.mark.parametrize(
    ("status", "body", "headers"),
    [
        (400, dict.fromkeys(BLANK, b"{"), {}),
        (413, LONG, {}),
        (415, BLANK, {"content-type": "text/plain"}),
        (422, BLANK, {}),
        (431, BLANK, {"x-large": "x" * 33_000}),
        (504, SLOW, {"x-request-timeout-ms": "500"}),
    ],
)
def test_the_example_of_an_error_is_what_the_server_says(
    mock_server: Server, path: str, status: int, body: dict[str, bytes], headers: dict[str, str]
) -> None:
    response = httpx.post(f"{mock_server.address}{path}", content=body[path], headers=JSON | headers, timeout=30)
    assert response.status_code == status
    assert same(example(document_of(mock_server), path, status), response.json()), response.text


def test_the_example_of_a_failing_model_is_what_the_server_says(mock_server: Server) -> None:
    response = mock_server.post({"text": "[fail]"})
    assert same(example(document_of(mock_server), "/predict", 500), response.json())


@pytest.mark.parametrize("path", BLANK)
def test_every_example_has_its_own_status(mock_server: Server, path: str) -> None:
    document = document_of(mock_server)
    responses = operations(document)[path]["responses"]
    for status in responses.keys() - {"200"}:
        shown = example(document, path, int(status))
        assert str(shown["status"]) == status
        assert ("errors" in shown) == (status == "422")
    assert [example(document, probe, 503)["status"] for probe in ("/readyz", "/info")] == [503] * 2
    assert example(document, "/healthz", 503)["status"] == "degraded"


@pytest.mark.parametrize("path", BLANK)
def test_the_examples_of_requests_get_the_responses_beside_them(mock_server: Server, path: str) -> None:
    operation = operations(document_of(mock_server))[path]
    requests = operation["requestBody"]["content"]["application/json"]["examples"]
    responses = operation["responses"]["200"]["content"]["application/json"]["examples"]
    assert requests.keys() == responses.keys()
    for name, request in requests.items():
        actual = mock_server.post(request["value"], path).json()
        shown = responses[name]["value"]
        for shown_one, one in zip(shown.get("predictions", [shown]), actual.get("predictions", [actual]), strict=True):
            assert shown_one.keys() == one.keys()
            if "error" in shown_one:
                assert shown_one == one


def test_without_keys_nothing_has_a_lock(mock_server: Server) -> None:
    document = document_of(mock_server)
    assert "securitySchemes" not in document["components"]
    assert all("security" not in operation for operation in operations(document).values())


@pytest.mark.parametrize("protect_information", [False, True])
def test_with_keys_what_needs_one_has_a_lock(tmp_path: Path, protect_information: bool) -> None:
    file = tmp_path / "keys.yaml"
    key = {"X-API-Key": add_key(file, "web")}
    options = {"api_keys_for_all": "true"} if protect_information else {}
    with serve(backend="mock", api_keys_file=str(file), **options) as server:
        document = httpx.get(f"{server.address}/openapi.json", headers=key, timeout=30).json()
        assert document["components"]["securitySchemes"].keys() == {"Bearer", "Key"}
        locked = set()
        for path, operation in operations(document).items():
            method = "POST" if path in BLANK or path.endswith(("/inference", "/retry")) else "GET"
            refused = httpx.request(method, f"{server.address}{path.replace('{id}', '0f3c')}", timeout=30)
            if refused.status_code == 401:
                locked.add(path)
                assert operation["security"] == [{"Bearer": []}, {"Key": []}]
                wrong = httpx.request(
                    method,
                    f"{server.address}{path.replace('{id}', '0f3c')}",
                    headers={"X-API-Key": "wrong"},
                    timeout=30,
                )
                assert same(example(document, path, 401), refused.json())
                assert same(example(document, path, 403), wrong.json())
            else:
                assert "security" not in operation
    jobs = {path for path in operations(document) if path.startswith("/jobs")}
    assert locked == {"/predict", "/predict/batch", *jobs} | ({"/info", "/metrics"} if protect_information else set())
