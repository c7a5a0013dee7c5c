"""Each error is one response, one access line and one metric, and says nothing internal."""

import asyncio
from typing import Any

import pytest
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.api.context import RequestContext
from app.errors import DeadlineExceeded, Overloaded
from tests.support.client import JSON, AsgiClient, scope_of
from tests.support.middleware import Bench, Events, Recorder, raises


class Panic(BaseException):
    """An error as libraries written in Rust raise it."""


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


async def test_a_client_that_left_is_counted_as_499(events: Events) -> None:
    async def silent(scope: Scope, receive: Receive, send: Send) -> None:
        """As uvicorn sends nothing to a client that left."""

    bench = Bench(silent)
    await bench.request()
    assert bench.recorder.answers == [("POST", "/predict", 499)]
    assert events("request")[0]["status"] == 499


async def test_a_check_that_fails_is_an_error_like_any_other(events: Events) -> None:
    def check(scope: Scope, context: RequestContext) -> Response | None:
        raise ValueError("internal words")

    assert (await Bench(checks=[check]).request()).status == 500
    assert len(events("unexpected error")) == 1


async def test_an_error_after_the_start_of_a_response_sends_no_second_one(events: Events) -> None:
    async def breaks_off(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]})
        raise ValueError

    bench = Bench(breaks_off)
    client = await bench.request()
    assert len(client.received) == 1
    assert bench.recorder.answers == [("POST", "/predict", 200)]
    assert len(events("unexpected error")) == 1


async def test_a_cancelled_request_gets_503_because_the_server_shuts_down() -> None:
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
