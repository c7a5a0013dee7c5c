"""There is one way in: whatever answers a request, it passes the middleware exactly once."""

from collections.abc import Iterator
from unittest.mock import patch

import pytest
from starlette.types import Receive, Scope, Send

from app.api.middleware import Middleware
from app.config import load_settings
from app.errors import NotReady, Overloaded
from app.main import create_app
from tests.support.client import JSON, AsgiClient, scope_of

PAGE = "https://page.example"
SETTINGS = {"backend": "mock", "cors_origins": [PAGE], "allowed_hosts": ["test"], "max_header_bytes": 1024}
APPLICATION = create_app(load_settings(SETTINGS))
ROUTES = sorted(
    (path, method) for path, operations in APPLICATION.fastapi.openapi()["paths"].items() for method in operations
)


@pytest.fixture
def passed() -> Iterator[list[str]]:
    """Paths of the requests that passed the middleware."""
    paths: list[str] = []
    call = Middleware.__call__

    async def spy(self: Middleware, scope: Scope, receive: Receive, send: Send) -> None:
        paths.append(scope["path"])
        await call(self, scope, receive, send)

    with patch.object(Middleware, "__call__", spy):
        yield paths


@pytest.mark.parametrize(
    ("path", "method", "headers", "status"),
    [
        ("/predict", "POST", JSON, 400),  # its body is empty
        ("/predict/batch", "POST", JSON, 400),
        ("/predict/stream", "POST", JSON, 415),
        ("/predict/stream?a", "POST", JSON, 404),
        ("/predict", "POST", JSON | {"origin": PAGE}, 400),
        ("/predict", "POST", {"host": "test"}, 415),
        ("/predict", "GET", JSON, 405),
        ("/predict", "OPTIONS", JSON | {"origin": PAGE, "access-control-request-method": "POST"}, 200),
        ("/predict/", "POST", JSON, 404),
        ("/predict", "POST", JSON | {"host": "other"}, 400),
        ("/predict", "POST", JSON | {"x-large": "x" * 2000}, 431),
        ("/predict", "POST", {}, 400),
        ("/missing", "GET", JSON, 404),
        ("/livez", "GET", JSON, 200),
        ("/livez", "HEAD", JSON, 200),
        ("/readyz", "GET", JSON, 503),
        ("/metrics", "GET", JSON, 200),
        ("/openapi.json", "GET", JSON, 200),
        ("/docs", "GET", JSON, 200),
        ("/static-offline-docs/missing.js", "GET", JSON, 404),
        ("/", "GET", JSON, 200),
        ("/", "POST", JSON, 400),
        ("/v2/models/mock/infer", "POST", {"host": "test"}, 503),  # the model is loading
        ("/v2/models/mock/infer", "GET", JSON, 405),
        ("/v2/missing", "GET", JSON, 404),
        ("", "GET", JSON, 404),
        ("*", "OPTIONS", JSON, 404),
    ],
)
async def test_a_request_passes_the_middleware_once(
    path: str, method: str, headers: dict[str, str], status: int, passed: list[str]
) -> None:
    client = AsgiClient()
    await APPLICATION(scope_of(path, method, headers), client.receive, client.send)
    assert (passed, client.status) == ([path], status)
    assert "x-request-id" in client.headers


@pytest.mark.parametrize(("path", "method"), ROUTES)
async def test_every_documented_route_passes_the_middleware(path: str, method: str, passed: list[str]) -> None:
    path = path.replace("{name}", "mock").replace("{version}", "mock").replace("{id}", "0f3c")
    client = AsgiClient()
    await APPLICATION(scope_of(path, method.upper()), client.receive, client.send)
    assert passed == [path]
    assert client.status not in (404, 405, 500)
    assert client.headers["x-content-type-options"] == "nosniff"


class Panic(BaseException):
    """An error as libraries written in Rust raise it."""


@pytest.mark.parametrize(
    ("error", "status", "logged"),
    [
        (NotReady("no"), 503, 0),
        (Overloaded("no", 1), 429, 0),
        (ValueError("secret"), 500, 1),
        (Panic("secret"), 500, 1),
    ],
)
async def test_an_error_of_a_fastapi_route_has_the_shape_of_all_others(
    error: BaseException, status: int, logged: int, caplog: pytest.LogCaptureFixture
) -> None:
    application = create_app(load_settings(SETTINGS))

    @application.fastapi.get("/broken")
    async def broken() -> None:
        raise error

    client = AsgiClient()
    await application(scope_of("/broken", "GET", JSON | {"origin": PAGE}), client.receive, client.send)
    assert (client.status, client.json["status"]) == (status, status)
    assert client.headers["content-type"] == "application/problem+json"
    assert client.headers["x-request-id"] == client.json["request_id"]
    assert client.headers["access-control-allow-origin"] == PAGE
    assert b"secret" not in client.body
    assert [record.getMessage() for record in caplog.records].count("unexpected error") == logged
    assert "secret" not in caplog.text


async def test_each_request_is_counted_once() -> None:
    registry = APPLICATION.metrics.registry

    def total() -> float:
        counters = [metric for metric in registry.collect() if metric.name == "http_requests"]
        return sum(sample.value for sample in counters[0].samples)

    before = total()
    paths = ["/predict", "/missing", "/livez", "/docs", "/metrics"]
    for path in paths:
        client = AsgiClient()
        await APPLICATION(scope_of(path, "GET"), client.receive, client.send)
    assert total() == before + len(paths)
