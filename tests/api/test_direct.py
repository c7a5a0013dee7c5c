"""Prediction routes by the shortcut and by FastAPI's own way."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import Request, Response
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.direct import DirectRoute, Shortcut
from app.api.middleware import Recovery, RequestContext
from app.config import Settings
from app.errors import TextTooLong
from app.main import create_app


class Answers(list[tuple[str, str, int]]):
    def answered(self, method: str, path: str, status: int, seconds: float) -> None:
        assert seconds >= 0
        self.append((method, path, status))


class Mark:
    def __init__(self, app: ASGIApp, name: str, passed: list[str]) -> None:
        self._app, self._name, self._passed = app, name, passed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._passed.append(self._name)
        await self._app(scope, receive, send)


async def _hello(request: Request) -> Response:
    if request.query_params.get("long"):
        raise TextTooLong("over 3 characters")
    if request.query_params.get("bug"):
        raise ZeroDivisionError
    return Response(await request.body())


@pytest.fixture
def answers() -> Answers:
    return Answers()


@pytest.fixture
def passed() -> list[str]:
    return []


@pytest.fixture
async def client(answers: Answers, passed: list[str]) -> AsyncIterator[httpx.AsyncClient]:
    async def elsewhere(scope: Scope, receive: Receive, send: Send) -> None:
        await Response("elsewhere")(scope, receive, send)

    layers = [Middleware(Mark, "outer", passed), Middleware(Mark, "inner", passed)]
    layers.append(Middleware(Recovery))
    app = RequestContext(Shortcut(elsewhere, [DirectRoute("/hello", _hello, methods=["POST"])], layers, answers))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:
        yield http


async def test_a_direct_route_is_reached_through_its_layers_and_counted(
    client: httpx.AsyncClient, answers: Answers, passed: list[str]
) -> None:
    assert (await client.post("/hello", content="you")).text == "you"
    assert passed == ["outer", "inner"]
    assert answers == [("POST", "/hello", 200)]


@pytest.mark.parametrize(("method", "path"), [("GET", "/hello"), ("POST", "/hello/"), ("POST", "/other")])
async def test_everything_else_goes_the_usual_way(
    method: str, path: str, client: httpx.AsyncClient, answers: Answers, passed: list[str]
) -> None:
    assert (await client.request(method, path)).text == "elsewhere"
    assert passed == answers == []


async def test_errors_are_answered_in_the_one_shape(client: httpx.AsyncClient, answers: Answers) -> None:
    found = await client.post("/hello?long=1")
    assert found.status_code == 413
    assert found.json()["detail"] == "over 3 characters"
    assert answers == [("POST", "/hello", 413)]


async def test_what_nobody_expects_is_answered_and_counted_as_500(client: httpx.AsyncClient, answers: Answers) -> None:
    assert (await client.post("/hello?bug=1")).status_code == 500
    assert answers == [("POST", "/hello", 500)]


@pytest.mark.parametrize("body", [{"text": "a good day"}, {"text": ""}, {}])
async def test_both_ways_to_a_prediction_answer_alike(body: dict[str, Any]) -> None:
    app = create_app(Settings(backend="mock"))
    transport = httpx.ASGITransport(app, root_path="/v1")
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        while (await http.get("/readyz")).status_code != 200:  # noqa: ASYNC110 - as a probe does
            await asyncio.sleep(0.01)
        paths = ("/predict", "/v1/predict")
        found = [await http.post(path, json=body, headers={"X-Request-ID": "1"}) for path in paths]
        short, usual = ((response.status_code, response.json()) for response in found)
        assert short == usual
        app.router.routes[:] = [route for route in app.router.routes if not isinstance(route, DirectRoute)]
        assert (await http.post("/v1/predict", json=body)).status_code == 404
        assert (await http.post("/predict", json=body)).status_code == short[0]  # the router knows nothing of it
        metrics = (await http.get("/metrics")).text
        assert f'http_requests_total{{handler="/predict",method="POST",status="{short[0]}"}} 3.0' in metrics
