"""`predict_many`: lists, order, errors in their places, and how far it reads ahead."""

import asyncio
import contextlib
import itertools
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from rt_sentiment_client import (
    AsyncClient,
    Client,
    DeadlineExceeded,
    InvalidRequest,
    InvalidText,
    Overloaded,
    SentimentError,
    TextTooLong,
    Unauthorized,
    UnexpectedResponse,
)

from tests.support.both_clients import EITHER, Connect
from tests.support.scripted import PREDICTION, Reply, Request, disconnect, echo, problem, respond, scripted
from tests.support.waiting import async_until

TEXTS = [f"text {number}" for number in range(20)]


def labels(results: list[Any]) -> list[str]:
    return [result.label for result in results]


def refusing(limit: int, reply: Reply) -> Reply:
    """Refuse lists that have more than `limit` texts."""

    async def answer(request: Request, writer: asyncio.StreamWriter) -> bool:
        too_long = len(request.json["texts"]) > limit
        return await (reply if too_long else echo)(request, writer)

    return answer


def info(**limits: int) -> Reply:
    defaults = {"max_text_chars": 10_000, "max_batch_texts": 256, "max_body_bytes": 1 << 22, "request_timeout_ms": 10}
    content = {"model": "m", "model_version": "1", "labels": [], "max_tokens": 7, "limits": defaults | limits}
    return respond(content=content)


@EITHER
@pytest.mark.parametrize("count", [0, 1, 4, 20])
async def test_results_are_in_the_order_of_the_texts(connect: Connect, count: int) -> None:
    async with scripted(echo) as server, connect(server.address) as client:
        results = await client.predict_many(TEXTS[:count], list_size=4, top_k=1, request_id="id")
    assert labels(results) == TEXTS[:count]
    bodies = sorted((request.json for request in server.requests), key=lambda body: TEXTS.index(body["texts"][0]))
    expected = [TEXTS[:count][first : first + 4] for first in range(0, count, 4)]
    assert bodies == [{"texts": texts, "partial": True, "top_k": 1} for texts in expected]
    assert {request.path for request in server.requests} <= {"/predict/batch"}
    ids = {request.headers["x-request-id"] for request in server.requests}
    assert ids == {f"id-{first}" for first in range(0, count, 4)}


@EITHER
async def test_a_slow_list_delays_the_results_after_it(connect: Connect) -> None:
    release = asyncio.Event()

    async def hold_the_first(request: Request, writer: asyncio.StreamWriter) -> bool:
        if request.json["texts"][0] == TEXTS[0]:
            await release.wait()
        else:
            release.set()
        return await echo(request, writer)

    async with scripted(hold_the_first) as server, connect(server.address) as client:
        assert labels(await client.predict_many(TEXTS, list_size=5)) == TEXTS


@EITHER
async def test_at_most_the_wanted_number_of_lists_is_sent_at_a_time(connect: Connect) -> None:
    running = highest = 0

    async def count(request: Request, writer: asyncio.StreamWriter) -> bool:
        nonlocal running, highest
        running += 1
        highest = max(highest, running)
        if len(server.requests) < 3:
            await async_until(lambda: running == 3)
        await asyncio.sleep(0.01)
        running -= 1
        return await echo(request, writer)

    async with scripted(count) as server, connect(server.address) as client:
        assert len(await client.predict_many(TEXTS, list_size=1, concurrency=3)) == 20
    assert highest == 3


@EITHER
async def test_lists_stay_below_the_limits_of_the_server(connect: Connect) -> None:
    texts = ["ä" * 100 for _ in range(20)]
    async with scripted(echo) as server, connect(server.address) as client:
        server.info = info(max_batch_texts=7, max_body_bytes=2048)
        assert labels(await client.predict_many(texts)) == texts
    assert max(len(request.body) for request in server.requests) <= 2048
    assert max(len(request.json["texts"]) for request in server.requests) <= 7


@EITHER
@pytest.mark.parametrize("reply", [problem(413), problem(504)])
async def test_a_list_that_is_too_much_is_split(connect: Connect, reply: Reply) -> None:
    async with scripted(refusing(3, reply)) as server, connect(server.address) as client:
        assert labels(await client.predict_many(TEXTS, list_size=20)) == TEXTS
    assert max(len(request.json["texts"]) for request in server.requests[1:]) == 10


@EITHER
@pytest.mark.parametrize("reply", [problem(429), problem(503), disconnect])
async def test_a_list_that_fails_for_now_is_sent_again(connect: Connect, reply: Reply) -> None:
    async with scripted(reply, reply, echo, reply, echo) as server, connect(server.address) as client:
        assert labels(await client.predict_many(TEXTS, list_size=7)) == TEXTS
    assert len(server.requests) >= 5


async def fail_some(request: Request, writer: asyncio.StreamWriter) -> bool:
    """Predict texts whose numbers are even."""
    places = [
        PREDICTION | {"label": text}
        if int(text.split()[-1]) % 2 == 0
        else {"error": {"status": 413 if text.endswith("7") else 422, "detail": "no"}}
        for text in request.json["texts"]
    ]
    return await respond(content={"predictions": places})(request, writer)


@EITHER
async def test_a_text_that_fails_alone_has_its_error_in_its_place(connect: Connect) -> None:
    async with scripted(fail_some) as server, connect(server.address) as client:
        results = await client.predict_many(TEXTS, list_size=3, on_error="return", request_id="id")
    assert len(results) == 20
    for number, result in enumerate(results):
        if number % 2 == 0:
            assert result.label == TEXTS[number]
        else:
            kind = TextTooLong if number in {7, 17} else InvalidText
            assert (type(result), result.index, result.detail) == (kind, number, "no")
            assert result.request_id == f"id-{number // 3 * 3}"


@EITHER
async def test_an_error_is_raised_after_the_results_before_it(connect: Connect) -> None:
    async with scripted(fail_some) as server, connect(server.address) as client:
        with pytest.raises(InvalidText) as raised:
            await client.predict_many(["text 0", "text 2", "text 4", "text 5", "text 6"], list_size=2)
    assert raised.value.index == 3


async def test_results_before_an_error_are_delivered() -> None:
    async with scripted(fail_some) as server, AsyncClient(server.address) as client:
        results = client.predict_many(TEXTS)
        assert (await anext(results)).label == "text 0"
        with pytest.raises(InvalidText):
            await anext(results)


@EITHER
async def test_without_the_server_every_text_has_the_error(connect: Connect) -> None:
    async with scripted(problem(429, retry_after="3600")) as server, connect(server.address) as client:
        results = await client.predict_many(TEXTS, list_size=8, on_error="return")
        assert [(type(result), result.index) for result in results] == [(Overloaded, number) for number in range(20)]
        with pytest.raises(Overloaded):
            await client.predict_many(TEXTS)


@EITHER
@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (problem(401), Unauthorized),
        (problem(422, content={"errors": [{"loc": ["body", "top_k"], "msg": "no"}]}), InvalidRequest),
        (problem(404), InvalidRequest),
        (respond(content={"predictions": [PREDICTION] * 3}), UnexpectedResponse),
        (respond(content={"predictions": [PREDICTION] * 19 + [{"error": "no"}]}), UnexpectedResponse),
        (respond(content={}), UnexpectedResponse),
    ],
)
async def test_an_error_of_every_list_is_always_raised(
    connect: Connect, reply: Reply, kind: type[SentimentError]
) -> None:
    async with scripted(reply) as server, connect(server.address) as client:
        with pytest.raises(kind):
            await client.predict_many(TEXTS, on_error="return")
    assert len(server.requests) == 1


@EITHER
async def test_a_single_text_over_a_limit_fails_alone(connect: Connect) -> None:
    async def refuse_long(request: Request, writer: asyncio.StreamWriter) -> bool:
        too_long = any(len(text) > 50 for text in request.json["texts"])
        return await (problem(413) if too_long else echo)(request, writer)

    texts = [*TEXTS[:5], "x" * 51, *TEXTS[5:]]
    async with scripted(refuse_long) as server, connect(server.address) as client:
        results = await client.predict_many(texts, on_error="return")
    assert isinstance(results[5], TextTooLong)
    assert results[5].index == 5
    assert labels(results[:5] + results[6:]) == TEXTS


@EITHER
async def test_a_deadline_ends_each_list(connect: Connect) -> None:
    async with scripted(problem(504)) as server, connect(server.address) as client:
        with pytest.raises(DeadlineExceeded):
            await client.predict_many(TEXTS, timeout_s=0.2)


@EITHER
async def test_what_is_not_a_text_reaches_the_server_as_null(connect: Connect) -> None:
    reply = respond(content={"predictions": [PREDICTION] * 3})
    async with scripted(reply) as server, connect(server.address) as client:
        await client.predict_many(["half \ud83d", float("nan"), None])
    assert server.requests[0].json["texts"] == ["half \ud83d", None, None]


@EITHER
@pytest.mark.parametrize("texts", ["good", b"good"])
async def test_a_single_text_instead_of_many_is_refused(connect: Connect, texts: Any) -> None:
    async with connect() as client:
        with pytest.raises(TypeError, match="iterable of texts"):
            await client.predict_many(texts)


@EITHER
@pytest.mark.parametrize("option", [{"list_size": 0}, {"concurrency": 0}, {"on_error": "ignore"}, {"timeout_s": 0}])
async def test_wrong_options_are_refused(connect: Connect, option: dict[str, Any]) -> None:
    async with connect() as client:
        with pytest.raises(ValueError, match=next(iter(option))):
            await client.predict_many(TEXTS, **option)


@EITHER
async def test_an_error_of_the_iterable_comes_after_all_results_before_it(connect: Connect) -> None:
    def failing() -> Iterator[str]:
        yield from TEXTS
        raise OSError("the disk is gone")

    async with scripted(echo) as server, connect(server.address) as client:
        with pytest.raises(OSError, match="the disk is gone"):
            await client.predict_many(failing(), list_size=3)
    assert sum(len(request.json["texts"]) for request in server.requests) == 20


async def test_an_endless_iterable_is_read_only_as_far_as_needed() -> None:
    read = itertools.count()
    texts = (f"text {next(read)}" for _ in itertools.repeat(None))
    async with scripted(echo) as server:
        with Client(server.address) as client:

            def first_ten() -> list[str]:
                with contextlib.closing(client.predict_many(texts, list_size=2, concurrency=3)) as results:
                    return labels(list(itertools.islice(results, 10)))

            assert await asyncio.to_thread(first_ten) == [f"text {number}" for number in range(10)]
    assert next(read) <= 10 + 2 * 2 * 3 + 2


async def test_an_endless_asynchronous_iterable_is_read_only_as_far_as_needed() -> None:
    read = itertools.count()

    async def texts() -> AsyncIterator[str]:
        while True:
            yield f"text {next(read)}"

    async with scripted(echo) as server, AsyncClient(server.address) as client:
        results = []
        async with contextlib.aclosing(client.predict_many(texts(), list_size=2, concurrency=3)) as stream:
            async for result in stream:
                results.append(result)
                if len(results) == 10:
                    break
    assert labels(results) == [f"text {number}" for number in range(10)]
    assert next(read) <= 10 + 2 * 2 * 3 + 2


async def test_asynchronous_results_come_while_the_iterable_waits() -> None:
    received = asyncio.Event()

    async def texts() -> AsyncIterator[str]:
        yield "text 0"
        await received.wait()
        yield "text 1"

    async with scripted(echo) as server, AsyncClient(server.address) as client:
        results = []
        async for result in client.predict_many(texts(), list_size=1):
            results.append(result)
            received.set()
    assert labels(results) == ["text 0", "text 1"]


async def test_results_that_nobody_wants_any_more_end_the_retries() -> None:
    async def first_then_refuse(request: Request, writer: asyncio.StreamWriter) -> bool:
        if request.json["texts"] != TEXTS[:1]:
            return await problem(429, retry_after="200")(request, writer)
        await async_until(lambda: len(server.requests) >= 2)
        return await echo(request, writer)

    async with scripted(first_then_refuse) as server:
        with Client(server.address, timeout_s=1000) as client:
            results = client.predict_many(TEXTS, list_size=1)
            await asyncio.to_thread(next, results)
            results.close()
            workers = [thread for thread in threading.enumerate() if thread.name.startswith("rt-sentiment-client")]
            await async_until(lambda: not any(worker.is_alive() for worker in workers))


async def test_a_cancelled_task_ends_its_requests() -> None:
    async with (
        scripted(problem(429, retry_after="200")) as server,
        AsyncClient(server.address, timeout_s=900) as client,
    ):
        task = asyncio.create_task(anext(client.predict_many(TEXTS, list_size=1)))
        await async_until(lambda: len(server.requests) >= 2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert {*asyncio.all_tasks()} - {asyncio.current_task()} == {
            task for task in asyncio.all_tasks() if "serve_connection" in repr(task)
        }
