"""What a client sends, and what it does with each response, against a server that follows a script."""

import asyncio
import re
import time
from typing import Any

import pytest
from rt_sentiment_client import (
    Client,
    DeadlineExceeded,
    InvalidRequest,
    InvalidText,
    Overloaded,
    SentimentError,
    ServerError,
    TextTooLong,
    Unauthorized,
    Unavailable,
    UnexpectedResponse,
)

from tests.support.both_clients import EITHER, Connect
from tests.support.scripted import (
    PREDICTION,
    Reply,
    break_off,
    disconnect,
    hang,
    problem,
    respond,
    scripted,
    trickle,
)

SECRET = "my secret text"


@EITHER
async def test_a_request_has_the_text_the_options_and_the_headers(connect: Connect) -> None:
    async with (
        scripted(respond(x_model="sentiment-en@3")) as server,
        connect(f"{server.address}/some/prefix/", api_key="rts_key", headers={"X-Team": "blue"}) as client,
    ):
        text = 'Grüße "\U0001f600"\n'
        result = await client.predict(text, top_k=2, long_text="window", truncate=False, request_id="id-1")
    (request,) = server.requests
    assert (request.method, request.path) == ("POST", "/some/prefix/predict")
    assert request.json == {"text": text, "top_k": 2, "long_text": "window", "truncate": False}
    assert request.headers["x-api-key"] == "rts_key"
    assert request.headers["x-request-id"] == "id-1"
    assert request.headers["x-team"] == "blue"
    assert request.headers["content-type"] == "application/json"
    assert re.fullmatch(r"rt-sentiment-client/\d+\.\d+\.\d+", request.headers["user-agent"])
    assert (result.label, result.confidence, result.scores) == ("positive", 0.9, PREDICTION["scores"])
    assert (result.truncated, result.model) == (False, "sentiment-en@3")


@EITHER
async def test_a_server_that_is_not_sure_enough_gives_no_label(connect: Connect) -> None:
    async with scripted(respond(content=PREDICTION | {"label": None})) as server, connect(server.address) as client:
        result = await client.predict("good")
    assert (result.label, result.confidence, result.scores) == (None, 0.9, PREDICTION["scores"])


@EITHER
async def test_options_that_are_not_given_are_not_sent(connect: Connect) -> None:
    async with scripted(respond()) as server, connect(server.address) as client:
        assert (await client.predict("good")).model is None
        await client.predict("good")
    first, second = server.requests
    assert first.json == {"text": "good"}
    assert "x-api-key" not in first.headers
    assert first.headers["x-request-id"] != second.headers["x-request-id"]


@EITHER
async def test_calls_share_a_connection(connect: Connect) -> None:
    async with scripted(respond(), problem(422), respond()) as server, connect(server.address) as client:
        await client.predict("good")
        with pytest.raises(InvalidRequest):
            await client.predict("good")
        await client.predict("good")
    assert (len(server.requests), server.connections) == (3, 1)


@EITHER
@pytest.mark.parametrize("fault", [problem(429), problem(502), problem(503), problem(504), disconnect, break_off])
async def test_what_may_succeed_later_is_tried_again_with_the_same_id(connect: Connect, fault: Reply) -> None:
    async with scripted(fault, fault, respond()) as server, connect(server.address) as client:
        assert (await client.predict("good")).label == "positive"
    assert len(server.requests) == 3
    assert len({(request.headers["x-request-id"], request.body) for request in server.requests}) == 1


@EITHER
@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (problem(400), InvalidRequest),
        (problem(401), Unauthorized),
        (problem(403), Unauthorized),
        (problem(404), InvalidRequest),
        (problem(413), TextTooLong),
        (problem(422, content={"errors": [{"loc": ["body", "text"], "msg": "no"}]}), InvalidText),
        (problem(500), ServerError),
        (respond(301, b"", location="https://example.com/"), UnexpectedResponse),
        (respond(200, b"<html>a portal</html>"), UnexpectedResponse),
        (respond(200, []), UnexpectedResponse),
        (respond(200, PREDICTION | {"confidence": "high"}), UnexpectedResponse),
        (respond(200, PREDICTION | {"scores": None}), UnexpectedResponse),
        (respond(200, b"not gzip", content_encoding="gzip"), UnexpectedResponse),
    ],
)
async def test_what_stays_wrong_is_not_tried_again(connect: Connect, reply: Reply, kind: type[SentimentError]) -> None:
    async with scripted(reply) as server, connect(server.address) as client:
        with pytest.raises(kind) as raised:
            await client.predict(SECRET, request_id="id-1")
    assert len(server.requests) == 1
    assert (type(raised.value), raised.value.request_id, raised.value.attempts) == (kind, "id-1", 1)
    assert SECRET not in f"{raised.value!r} {raised.value} {raised.value.__cause__!r}"


@EITHER
async def test_fields_that_the_client_does_not_know_are_ignored(connect: Connect) -> None:
    async with scripted(respond(content=PREDICTION | {"new": 1})) as server, connect(server.address) as client:
        assert (await client.predict("good")).label == "positive"


@EITHER
async def test_the_wait_is_as_long_as_the_server_asks(connect: Connect) -> None:
    async with scripted(problem(429, retry_after="1"), respond()) as server, connect(server.address) as client:
        started_s = time.monotonic()
        await client.predict("good")
        assert time.monotonic() - started_s >= 1
    assert len(server.requests) == 2


@EITHER
async def test_a_wait_longer_than_the_deadline_fails_at_once(connect: Connect) -> None:
    async with scripted(problem(429, retry_after="3600")) as server, connect(server.address) as client:
        with pytest.raises(Overloaded) as raised:
            await client.predict("good")
    assert (raised.value.retry_after_s, raised.value.status, raised.value.attempts) == (3600, 429, 1)


@EITHER
async def test_the_deadline_is_that_of_all_attempts_and_is_passed_on(connect: Connect) -> None:
    replies = [problem(503), problem(503), problem(503, retry_after="3600")]
    async with (
        scripted(*replies) as server,
        connect(server.address, timeout_s=200, attempt_timeout_s=None) as client,
    ):
        with pytest.raises(Unavailable) as raised:
            await client.predict("good", timeout_s=100)
    assert raised.value.attempts == len(server.requests) == 3
    left_ms = [int(request.headers["x-request-timeout-ms"]) for request in server.requests]
    assert 100_000 >= left_ms[0] > left_ms[1] > left_ms[2]


@EITHER
async def test_an_attempt_has_a_limit_of_its_own(connect: Connect) -> None:
    async with (
        scripted(hang, respond()) as server,
        connect(server.address, timeout_s=200, attempt_timeout_s=0.3) as client,
    ):
        await client.predict("good")
    assert {request.headers["x-request-timeout-ms"] for request in server.requests} == {"300"}
    assert len(server.requests) >= 2


@EITHER
@pytest.mark.parametrize("fault", [hang, trickle])
async def test_a_server_that_does_not_finish_costs_no_more_than_the_deadline(connect: Connect, fault: Reply) -> None:
    async with scripted(fault) as server, connect(server.address) as client:
        with pytest.raises(DeadlineExceeded) as raised:
            await asyncio.wait_for(client.predict("good", timeout_s=0.3), 100)
    assert raised.value.status is None


@EITHER
async def test_one_attempt_means_no_retries(connect: Connect) -> None:
    async with scripted(problem(503), respond()) as server, connect(server.address, max_attempts=1) as client:
        with pytest.raises(Unavailable):
            await client.predict("good")
    assert len(server.requests) == 1


@EITHER
async def test_without_a_server_the_error_says_that_there_is_no_connection(connect: Connect) -> None:
    async with scripted(respond()) as server:
        address = server.address
    async with connect(address, max_attempts=3) as client:
        with pytest.raises(Unavailable, match="no connection to the server") as raised:
            await client.predict("good", request_id="id-1")
    assert (raised.value.status, raised.value.request_id, raised.value.attempts) == (None, "id-1", 3)


@EITHER
@pytest.mark.parametrize(("text", "detail"), [("half \ud83d", "incomplete surrogate pair")])
async def test_a_text_that_cannot_be_sent_is_an_invalid_text(connect: Connect, text: str, detail: str) -> None:
    async with connect("http://127.0.0.1:9") as client:
        with pytest.raises(InvalidText, match=detail):
            await client.predict(text)


@EITHER
async def test_a_call_that_is_cancelled_or_fails_leaves_the_client_usable(connect: Connect) -> None:
    async with scripted(hang, hang, respond()) as server, connect(server.address) as client:
        for _ in range(2):
            with pytest.raises(DeadlineExceeded):
                await client.predict("good", timeout_s=0.2)
        assert (await client.predict("good")).label == "positive"


@EITHER
async def test_info_has_the_model_and_the_limits(connect: Connect) -> None:
    limits = {"max_text_chars": 10, "max_batch_texts": 2, "max_body_bytes": 4096, "request_timeout_ms": 50.0}
    info = {"model": "m", "model_version": "1", "labels": ["a", "b"], "max_tokens": 7, "limits": limits, "new": 1}
    async with scripted(respond()) as server, connect(server.address) as client:
        server.info = respond(content=info)
        result = await client.info()
        server.info = respond(content=info | {"limits": {}})
        with pytest.raises(UnexpectedResponse):
            await client.info()
    assert (result.model, result.model_version, result.labels, result.max_tokens) == ("m", "1", ("a", "b"), 7)
    assert result.limits.max_batch_texts == 2


@EITHER
async def test_the_environment_names_server_and_key(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    async with scripted(respond()) as server:
        monkeypatch.setenv("RT_SENTIMENT_URL", server.address)
        monkeypatch.setenv("RT_SENTIMENT_API_KEY", "rts_key")
        async with connect() as client:
            await client.predict("good")
        async with connect(api_key="rts_other") as client:
            await client.predict("good")
    assert [request.headers["x-api-key"] for request in server.requests] == ["rts_key", "rts_other"]


@EITHER
async def test_a_password_in_the_address_is_sent_and_never_shown(connect: Connect) -> None:
    async with scripted(respond()) as server:
        address = server.address.replace("http://", "http://me:hidden@")
        async with connect(address, api_key="rts_key") as client:
            await client.predict("good")
            assert "127.0.0.1" in repr(client)
            assert "hidden" not in repr(client)
            assert "rts_key" not in repr(client)
    assert server.requests[0].headers["authorization"] == "Basic bWU6aGlkZGVu"
    assert server.requests[0].headers["x-api-key"] == "rts_key"


@EITHER
@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"base_url": "127.0.0.1:8000"}, "base_url"),
        ({"base_url": "ftp://example.com"}, "base_url"),
        ({"base_url": "http://"}, "base_url"),
        ({"base_url": "http://[::1"}, "base_url"),
        ({"base_url": "http://example.com/?key=1"}, "base_url"),
        ({"api_key": "rts_key\n"}, "API key"),
        ({"api_key": "schlüssel"}, "API key"),
        ({"headers": {"X-Team": "a\r\nb: c"}}, "headers"),
        ({"headers": {"X-Team": "blau grün"}}, "headers"),
        ({"headers": {"X Team": "blue"}}, "headers"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"attempt_timeout_s": -1}, "attempt_timeout_s"),
        ({"max_attempts": 0}, "max_attempts"),
        ({"max_connections": 0}, "max_connections"),
    ],
)
def test_wrong_arguments_are_refused_and_keys_not_shown(connect: Connect, arguments: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match) as raised:
        connect(**arguments)
    assert "rts_key" not in str(raised.value)


@EITHER
@pytest.mark.parametrize("request_id", ["", "two words", "x" * 101, "a\r\nb: c", "ä"])
async def test_a_request_id_that_cannot_be_sent_is_refused(connect: Connect, request_id: str) -> None:
    async with connect() as client:
        with pytest.raises(ValueError, match="request_id"):
            await client.predict("good", request_id=request_id)


async def test_threads_share_a_client() -> None:
    async def echo_confidence(request: Any, writer: asyncio.StreamWriter) -> bool:
        return await respond(content=PREDICTION | {"label": request.json["text"]})(request, writer)

    async with scripted(echo_confidence) as server:
        with Client(server.address, max_connections=8) as client:
            texts = [f"text {number}" for number in range(100)]
            results = await asyncio.gather(*(asyncio.to_thread(client.predict, text) for text in texts))
    assert [result.label for result in results] == texts
    assert server.connections <= 8
