"""Each request gets an id, checks, one response, one access line and one metric, whatever answers it."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.auth import authentication
from app.api.checks import Check, one_host
from app.api.context import RequestContext
from app.api.middleware import Middleware
from app.errors import DeadlineExceeded, Overloaded
from tests.support.client import JSON, AsgiClient, scope_of

PAGE = "https://page.example"


class Panic(BaseException):
    """An error as libraries written in Rust raise it."""


class Recorder:
    """Keeps what the metrics would count."""

    def __init__(self) -> None:
        self.answers: list[tuple[str, str, int]] = []

    def answered(self, method: str, path: str, status: int, seconds: float) -> None:
        assert seconds >= 0
        self.answers.append((method, path, status))


class NoKeys:
    names = ("someone",)

    def holder(self, key: str) -> str | None:
        return {"right": "someone"}.get(key)


ENDPOINT, APP = PlainTextResponse("endpoint"), PlainTextResponse("app")


def raises(error: BaseException) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise error

    return app


class Bench:
    """The middleware in front of a hot endpoint and an app."""

    def __init__(
        self,
        endpoint: ASGIApp = ENDPOINT,
        app: ASGIApp = APP,
        checks: list[Check] | None = None,
        cors: Callable[[ASGIApp], ASGIApp] | None = None,
    ) -> None:
        self.recorder = Recorder()
        self.middleware = Middleware(
            app,
            endpoints={"/predict": endpoint},
            checks=checks or [],
            observer=self.recorder,
            paths={"/predict", "/livez"},
            cors=cors,
        )

    async def request(
        self, path: str = "/predict", method: str = "POST", headers: Mapping[str, str] | None = None, **fields: Any
    ) -> AsgiClient:
        client = AsgiClient()
        await self.middleware(scope_of(path, method, headers, **fields), client.receive, client.send)
        return client


def cors(app: ASGIApp) -> ASGIApp:
    return CORSMiddleware(app, allow_origins=[PAGE], allow_methods=["GET", "POST"], allow_headers=["X-API-Key"])


Events = Callable[[str], list[dict[str, Any]]]


@pytest.fixture(autouse=True)
def events(caplog: pytest.LogCaptureFixture) -> Events:
    """Return a function that returns the fields of all log events with a name."""
    caplog.set_level(logging.DEBUG, logger="sentiment")
    return lambda event: [vars(record)["fields"] for record in caplog.records if record.getMessage() == event]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Overloaded("full", 2), 429),
        (DeadlineExceeded("late"), 504),
        (ClientDisconnect(), 499),
        (ValueError("internal words"), 500),
        (Panic("internal words"), 500),
    ],
)
async def test_an_error_is_one_response_one_line_and_one_metric(
    error: BaseException, status: int, events: Events
) -> None:
    bench = Bench(raises(error))
    client = await bench.request(headers=JSON | {"x-request-id": "abc"})
    assert client.status == status
    assert bench.recorder.answers == [("POST", "/predict", status)]
    (line,) = events("request")
    assert (line["status"], line["request_id"]) == (status, "abc")
    assert b"internal words" not in client.body
    assert "internal words" not in str(events("unexpected error"))
    assert len(events("unexpected error")) == (status == 500)


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
    await bench.request("/secret words", "SECRET")
    assert bench.recorder.answers == [("SECRET", "none", 200)]  # the metrics replace unknown methods
    assert (events("request")[0]["method"], events("request")[0]["path"]) == ("(other)", "(none)")


async def test_polled_paths_are_logged_at_the_debug_level(caplog: pytest.LogCaptureFixture) -> None:
    await Bench().request("/livez", "GET")
    assert [record.levelno for record in caplog.records] == [logging.DEBUG]


async def test_a_client_that_left_is_counted_as_499(events: Events) -> None:
    async def silent(scope: Scope, receive: Receive, send: Send) -> None:
        """As uvicorn sends nothing to a client that left."""

    bench = Bench(silent)
    await bench.request()
    assert bench.recorder.answers == [("POST", "/predict", 499)]
    assert events("request")[0]["status"] == 499


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


async def test_a_check_that_fails_is_an_error_like_any_other(events: Events) -> None:
    def check(scope: Scope, context: RequestContext) -> Response | None:
        raise ValueError("internal words")

    assert (await Bench(checks=[check]).request()).status == 500
    assert len(events("unexpected error")) == 1


def preflight() -> dict[str, str]:
    return {"host": "test", "origin": PAGE, "access-control-request-method": "POST"}


KEYS = authentication(NoKeys(), protect_information=True)  # type: ignore[arg-type]


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


async def test_an_error_after_the_start_of_a_response_sends_no_second_one(events: Events) -> None:
    async def breaks_off(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]})
        raise ValueError

    bench = Bench(breaks_off)
    client = await bench.request()
    assert len(client.received) == 1
    assert bench.recorder.answers == [("POST", "/predict", 200)]
    assert len(events("unexpected error")) == 1


async def test_an_endpoint_may_leave_out_the_headers_of_its_response() -> None:
    async def bare(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 204})  # `headers` is optional in ASGI
        await send({"type": "http.response.body"})

    client = await Bench(bare).request()
    assert client.status == 204
    assert "x-request-id" in client.headers


async def test_a_cancelled_request_is_told_that_the_server_shuts_down() -> None:
    async def hangs(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(60)

    bench, client = Bench(hangs), AsgiClient()
    task = asyncio.create_task(bench.middleware(scope_of(), client.receive, client.send))
    await asyncio.sleep(0)
    task.cancel()
    await task
    assert (client.status, client.json["detail"]) == (503, "the server is shutting down")
    assert (client.headers["connection"], client.headers["retry-after"]) == ("close", "1")
    assert bench.recorder.answers == [("POST", "/predict", 503)]


async def test_a_cancellation_after_the_start_of_a_response_goes_on() -> None:
    async def hangs(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.sleep(60)

    bench, client = Bench(hangs), AsgiClient()
    task = asyncio.create_task(bench.middleware(scope_of(), client.receive, client.send))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(client.received) == 1
    assert bench.recorder.answers == [("POST", "/predict", 200)]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
async def test_a_signal_ends_the_process_and_not_just_the_request(error: type[BaseException]) -> None:
    bench, client = Bench(raises(error())), AsgiClient()
    coroutine = bench.middleware(scope_of(), client.receive, client.send)
    with pytest.raises(error):
        coroutine.send(None)


async def test_an_observer_that_fails_costs_no_client_its_response(events: Events) -> None:
    class Broken(Recorder):
        def answered(self, *_: Any) -> None:
            raise ValueError("internal words")

    bench = Bench()
    bench.middleware._observer = Broken()
    client = await bench.request(headers=JSON | {"x-request-id": "abc"})
    assert client.body == b"endpoint"
    assert events("unexpected error")[0]["request_id"] == "abc"


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
