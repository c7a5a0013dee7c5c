"""The OpenAPI document: what `/docs` shows is what the server does."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.access import add_key
from tests.support.process import Server, serve

OPERATIONS = {
    "GET /jobs": "list_jobs",
    "POST /jobs/inference": "submit_inference_job",
    "POST /jobs/training": "submit_training_job",
    "GET /jobs/{id}": "get_job",
    "DELETE /jobs/{id}": "cancel_job",
    "GET /jobs/{id}/status": "get_job_status",
    "GET /jobs/{id}/events": "follow_job",
    "GET /jobs/{id}/result": "get_result",
    "POST /jobs/{id}/retry": "retry_job",
    "/predict": "predict",
    "/predict/batch": "predict_batch",
    "/predict/stream": "predict_stream",
    "/feedback": "send_feedback",
    "/livez": "livez",
    "/readyz": "readyz",
    "/healthz": "healthz",
    "/info": "info",
    "/metrics": "metrics",
    "GET /": "page",
    "POST /": "huggingface",
    "/v2": "v2_server",
    "/v2/health/live": "v2_live",
    "/v2/health/ready": "v2_ready",
    "/v2/models/{name}": "v2_model",
    "/v2/models/{name}/ready": "v2_model_ready",
    "/v2/models/{name}/infer": "v2_infer",
    "/v2/models/{name}/versions/{version}": "v2_model_version",
    "/v2/models/{name}/versions/{version}/ready": "v2_model_version_ready",
    "/v2/models/{name}/versions/{version}/infer": "v2_infer_version",
    "/v2/repository/index": "v2_repository_index",
    "/models": "models",
    "/models/{name}": "model",
    "/models/{name}/predict": "predict_with_model",
    "/models/{name}/predict/batch": "predict_batch_with_model",
}
JSON = {"content-type": "application/json"}
INFER, INFER_VERSION = "/v2/models/{name}/infer", "/v2/models/{name}/versions/{version}/infer"
BODIES = {
    "/predict": '{"text": "%s"}',
    "/predict/batch": '{"texts": ["a", "%s"]}',
    "/": '{"inputs": "%s"}',
    INFER: '{"inputs": [{"name": "TEXT", "datatype": "BYTES", "shape": [1], "data": ["%s"]}]}',
}
BODIES[INFER_VERSION] = BODIES[INFER]
OURS = ("/predict", "/predict/batch", "/models/{name}/predict", "/models/{name}/predict/batch")
BODIES |= {f"/models/{{name}}{path}": BODIES[path] for path in ("/predict", "/predict/batch")}
BLANK, LONG, SLOW = (
    {path: body.replace("%s", text.format(path.count("/"), len(path))).encode() for path, body in BODIES.items()}
    for text in (" ", "a" * 10_001, "[slow] {} {}")
)
INFORMATION = {
    "/info",
    "/metrics",
    "/v2",
    "/v2/models/{name}",
    "/v2/models/{name}/versions/{version}",
}


def document_of(server: Server) -> dict[str, Any]:
    document: dict[str, Any] = httpx.get(f"{server.address}/openapi.json", timeout=30).json()
    return document


def operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The operation of each path; of the page, where one protocol predicts, that of the protocol."""
    return {path: methods.get("post") or methods["get"] for path, methods in document["paths"].items()}


def example(document: dict[str, Any], path: str, status: int) -> dict[str, Any]:
    (content,) = operations(document)[path]["responses"][str(status)]["content"].values()
    shown: dict[str, Any] = content["example"]
    return shown


def same(shown: dict[str, Any], actual: dict[str, Any]) -> bool:
    """Equal, except for the id of the request."""
    return shown | {"request_id": ""} == actual | {"request_id": ""} and list(shown) == list(actual)


def url(server: Server, path: str) -> str:
    """The address of a path; the model is that of the mock backend."""
    return server.address + path.replace("{name}", "mock").replace("{version}", "mock").replace("{id}", "0f3c")


def test_operations_have_the_names_of_their_routes(mock_server: Server) -> None:
    document = document_of(mock_server)
    names = {
        f"{method.upper()} {path}" if path == "/" or path.startswith("/jobs") else path: each["operationId"]
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
        (415, BLANK, {"content-type": "text/plain", "content-encoding": "br"}),
        (422, BLANK, {}),
        (431, BLANK, {"x-large": "x" * 33_000}),
        (504, SLOW, {"x-request-timeout-ms": "500"}),
    ],
)
def test_the_example_of_an_error_is_what_the_server_says(
    mock_server: Server, path: str, status: int, body: dict[str, bytes], headers: dict[str, str]
) -> None:
    response = httpx.post(url(mock_server, path), content=body[path], headers=JSON | headers, timeout=30)
    assert response.status_code == status
    assert same(example(document_of(mock_server), path, status), response.json()), response.text


def test_the_example_of_another_version_of_http_is_what_the_server_says(mock_server: Server) -> None:
    host, _, port = mock_server.address.removeprefix("http://").rpartition(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(b"GET /livez HTTP/2.0\r\nHost: a\r\n\r\n")
        head, _, body = b"".join(iter(lambda: connection.recv(65536), b"")).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 505 HTTP Version Not Supported\r\n")
    assert same(example(document_of(mock_server), "/predict", 505), json.loads(body))


def test_the_example_of_a_failing_model_is_what_the_server_says(mock_server: Server) -> None:
    response = mock_server.post({"text": "[fail]"})
    assert same(example(document_of(mock_server), "/predict", 500), response.json())


@pytest.mark.parametrize("path", BLANK)
def test_every_example_has_its_own_status(mock_server: Server, path: str) -> None:
    document = document_of(mock_server)
    responses = operations(document)[path]["responses"]
    for status in responses.keys() - {"200"}:
        shown = example(document, path, int(status))
        if path not in OURS:
            assert list(shown) == ["error"]
            continue
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
        actual = httpx.post(url(mock_server, path), json=request["value"], timeout=30).json()
        shown = responses[name]["value"]
        if path not in OURS:
            assert types_of(shown) == types_of(actual)
            continue
        for shown_one, one in zip(shown.get("predictions", [shown]), actual.get("predictions", [actual]), strict=True):
            assert shown_one.keys() == one.keys()
            if "error" in shown_one:
                assert shown_one == one


def test_the_example_of_a_stream_gets_the_answers_beside_it(mock_server: Server) -> None:
    operation = operations(document_of(mock_server))["/predict/stream"]
    ((media_type, request),) = operation["requestBody"]["content"].items()
    shown = operation["responses"]["200"]["content"][media_type]["example"]
    headers = {"content-type": media_type}
    response = httpx.post(f"{mock_server.address}/predict/stream", content=request["example"], headers=headers)
    first, second = map(json.loads, response.text.splitlines())
    shown_first, shown_second = map(json.loads, shown.splitlines())
    assert (first.keys(), second) == (shown_first.keys(), shown_second)


@pytest.mark.parametrize(("status", "query", "headers"), [(415, "", JSON), (422, "?top_k=x", {})])
def test_the_example_of_an_error_of_a_stream_is_what_the_server_says(
    mock_server: Server, status: int, query: str, headers: dict[str, str]
) -> None:
    types = {"content-type": "application/x-ndjson"} | headers
    response = httpx.post(f"{mock_server.address}/predict/stream{query}", content=b"", headers=types)
    assert response.status_code == status
    assert same(example(document_of(mock_server), "/predict/stream", status), response.json()), response.text


def types_of(value: Any) -> Any:
    """The structure of JSON, without the numbers and the strings."""
    if isinstance(value, dict):
        return {name: types_of(each) for name, each in value.items()}
    return [types_of(each) for each in value] if isinstance(value, list) else type(value)


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
            method = (
                "POST" if path in BLANK or path.endswith(("/inference", "/retry", "/feedback", "/index")) else "GET"
            )
            refused = httpx.request(method, url(server, path), timeout=30)
            if refused.status_code == 401:
                locked.add(path)
                assert operation["security"] == [{"Bearer": []}, {"Key": []}]
                wrong = httpx.request(method, url(server, path), headers={"X-API-Key": "wrong"}, timeout=30)
                assert same(example(document, path, 401), refused.json())
                assert same(example(document, path, 403), wrong.json())
            else:
                assert "security" not in operation
    jobs = {path for path in operations(document) if path.startswith("/jobs")}
    assert locked == BODIES.keys() | {
        "/predict/stream",
        "/feedback",
        "/models",
        "/models/{name}",
        "/v2/repository/index",
    } | jobs | (INFORMATION if protect_information else set())


def everything(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every object of the document."""
    if isinstance(value, dict):
        yield value
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from everything(each)


def test_the_document_is_valid(mock_server: Server) -> None:
    from openapi_spec_validator import OpenAPIV31SpecValidator  # takes seconds

    OpenAPIV31SpecValidator(document_of(mock_server)).validate()


def test_the_document_follows_the_rules_of_linters(mock_server: Server) -> None:
    """The rules that Redocly recommends, and a description for whatever a generated client names."""
    document = document_of(mock_server)
    assert document["servers"]
    assert document["info"]["license"]["identifier"] == "Apache-2.0"
    assert document["security"] == []
    tags = {tag["name"] for tag in document["tags"] if tag["description"]}
    for path, operation in operations(document).items():
        assert operation["operationId"]
        assert operation["summary"]
        assert operation["description"]
        assert {*operation["tags"]} <= tags
        assert any(status.startswith("2") for status in operation["responses"])
        assert any(status.startswith("4") for status in operation["responses"]), path
        for response in operation["responses"].values():
            assert response["description"]
            headers = response.get("headers", {}).values()
            assert all(header["description"] and header["schema"]["type"] for header in headers)
    schemas = document["components"]["schemas"]
    used = {each["$ref"].rpartition("/")[2] for each in everything(document) if "$ref" in each}
    assert used == schemas.keys()
    for name, schema in schemas.items():
        assert schema["description"], name
        for field, described in schema.get("properties", {}).items():
            assert described["description"], f"{name}.{field}"
