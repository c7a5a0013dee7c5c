"""Each request gets an id, checks, one response, one access line and one metric, whatever answers it."""

import asyncio
import logging
from typing import Any

import pytest
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from app.access import Credentials, Key
from app.api.auth import authentication
from app.api.checks import Check, one_host
from app.api.context import RequestContext
from tests.support.client import JSON, AsgiClient
from tests.support.middleware import PAGE, Bench, Events, cors, raises


class NoKeys:
    names = ("someone",)

    def find(self, key: str) -> Key | None:
        return {"right": Key("someone", b"")}.get(key)


async def test_every_response_has_an_id_and_security_headers() -> None:
    benches = [Bench(), Bench(raises(ValueError())), Bench(checks=[KEYS]), Bench(cors=cors)]
    clients = [await bench.request() for bench in benches]
    clients += [
        await benches[0].request("/missing", "GET"),
        await benches[-1].request("/predict", "OPTIONS", preflight()),
    ]
    for client in clients:
        assert client.headers["x-content-type-options"] == "nosniff"
        assert client.headers["content-security-policy"] == "frame-ancestors 'none'"
        assert client.headers["referrer-policy"] == "no-referrer"
    assert len({client.headers["x-request-id"] for client in clients}) == len(clients)


async def test_a_success_is_one_line_and_one_metric(events: Events) -> None:
    bench = Bench()
    client = await bench.request()
    (line,) = events("request")
    assert (line["method"], line["path"], line["status"]) == ("POST", "/predict", 200)
    assert line["request_id"] == client.headers["x-request-id"]
    assert line["client"] == "192.0.2.1"
    assert bench.recorder.answers == [("POST", "/predict", 200)]


async def test_unknown_paths_and_methods_are_not_logged_by_name(events: Events) -> None:
    bench = Bench()
    await bench.request("/secret-words", "SECRET")
    assert bench.recorder.answers == [("SECRET", "none", 200)]  # the metrics replace unknown methods
    assert (events("request")[0]["method"], events("request")[0]["path"]) == ("(other)", "(none)")


async def test_polled_paths_are_logged_at_the_debug_level(caplog: pytest.LogCaptureFixture) -> None:
    await Bench().request("/livez", "GET")
    assert [record.levelno for record in caplog.records] == [logging.DEBUG]


@pytest.mark.parametrize(
    ("path", "method", "answered_by"),
    [
        ("/predict", "POST", b"endpoint"),
        ("/predict", "GET", b"app"),
        ("/predict", "post", b"app"),
        ("/predict/", "POST", b"app"),
        ("/PREDICT", "POST", b"app"),
        ("/livez", "POST", b"app"),
    ],
)
async def test_only_a_post_to_its_exact_path_reaches_an_endpoint(path: str, method: str, answered_by: bytes) -> None:
    assert (await Bench().request(path, method)).body == answered_by


async def test_other_scopes_go_to_the_app_unchanged() -> None:
    seen: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)

    scope = {"type": "lifespan"}
    bench = Bench(app=app)
    await bench.middleware(scope, AsgiClient().receive, AsgiClient().send)
    assert seen == [{"type": "lifespan"}]
    assert seen[0] is scope
    assert bench.recorder.answers == []


@pytest.mark.parametrize(
    ("path", "answered_by"), [("/api/predict", b"endpoint"), ("/predict", b"endpoint"), ("/apis/predict", b"app")]
)
async def test_endpoints_are_found_below_a_root_path(path: str, answered_by: bytes) -> None:
    assert (await Bench().request(path, root_path="/api")).body == answered_by


async def test_paths_below_a_root_path_are_logged_and_counted(events: Events) -> None:
    bench = Bench()
    await bench.request("/api/predict", root_path="/api")
    assert bench.recorder.answers == [("POST", "/predict", 200)]
    assert events("request")[0]["path"] == "/predict"


async def test_the_first_check_that_refuses_answers() -> None:
    calls: list[str] = []

    def check(name: str, response: Response | None) -> Check:
        def run(scope: Scope, context: RequestContext) -> Response | None:
            calls.append(name)
            return response

        return run

    bench = Bench(checks=[check("a", None), check("b", Response("no", 403)), check("c", None)])
    client = await bench.request()
    assert (client.status, client.body, calls) == (403, b"no", ["a", "b"])
    assert bench.recorder.answers == [("POST", "/predict", 403)]


def preflight() -> dict[str, str]:
    return {"host": "test", "origin": PAGE, "access-control-request-method": "POST"}


KEYS = authentication(Credentials(NoKeys()), protect_information=True)  # type: ignore[arg-type]


@pytest.mark.parametrize("path", ["/predict", "/livez"])
async def test_a_preflight_needs_no_key_and_reaches_no_endpoint(path: str) -> None:
    bench = Bench(raises(AssertionError()), raises(AssertionError()), checks=[KEYS], cors=cors)
    client = await bench.request(path, "OPTIONS", preflight())
    assert client.status == 200
    assert client.headers["access-control-allow-origin"] == PAGE
    assert bench.recorder.answers == [("OPTIONS", path, 200)]


async def test_an_options_request_that_is_no_preflight_needs_a_key() -> None:
    bench = Bench(checks=[KEYS], cors=cors)
    assert (await bench.request("/predict", "OPTIONS", {"host": "test", "origin": PAGE})).status == 401


@pytest.mark.parametrize(
    ("headers", "status"), [({}, 401), ({"x-api-key": "wrong"}, 403), ({"x-api-key": "right"}, 500)]
)
async def test_refusals_and_errors_have_cors_headers(headers: dict[str, str], status: int) -> None:
    bench = Bench(raises(ValueError()), checks=[one_host, KEYS], cors=cors)
    client = await bench.request(headers=JSON | {"origin": PAGE} | headers)
    assert client.status == status
    assert client.headers["access-control-allow-origin"] == PAGE


async def test_without_cors_no_response_allows_an_origin() -> None:
    client = await Bench().request(headers=JSON | {"origin": PAGE})
    assert not [name for name in client.headers if name.startswith("access-control")]


async def test_an_endpoint_may_leave_out_the_headers_of_its_response() -> None:
    async def bare(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 204})  # `headers` is optional in ASGI
        await send({"type": "http.response.body"})

    client = await Bench(bare).request()
    assert client.status == 204
    assert "x-request-id" in client.headers


async def test_requests_at_the_same_time_keep_their_own_context(events: Events) -> None:
    async def echo(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(0)
        await PlainTextResponse(scope["state"]["context"].request_id)(scope, receive, send)

    bench = Bench(echo)
    ids = [f"id-{number}" for number in range(20)]
    state: dict[str, Any] = {"shared": True}  # a server passes a shallow copy of the lifespan's state to each request
    clients = await asyncio.gather(
        *(bench.request(headers=JSON | {"x-request-id": each}, state=state.copy()) for each in ids)
    )
    assert [client.body.decode() for client in clients] == ids
    assert [client.headers["x-request-id"] for client in clients] == ids
    assert sorted(line["request_id"] for line in events("request")) == sorted(ids)
    assert "context" not in state
