"""A stream in both directions: the order, the bounds, waiting for room, and how it ends."""

import asyncio
from collections.abc import AsyncIterator
from typing import cast

import pytest
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from app.api.bodies import Bodies
from app.api.context import BROKEN
from app.api.stream import PredictStreamEndpoint
from app.errors import NotReady, Overloaded
from app.serving import Service, Version
from tests.support.serving import spec_of
from tests.support.stream_bench import ANSWER, LIMITS, WINDOW, FakeRate, FakeService, StreamBench, failure, texts
from tests.support.waiting import async_until


@pytest.fixture
async def bench() -> AsyncIterator[StreamBench]:
    bench = StreamBench()
    yield bench
    bench.check_end()


async def test_answers_come_in_the_order_of_the_lines(bench: StreamBench) -> None:
    bench.service.is_slow = True
    task = bench.start()
    bench.client.write(*texts(3), more=False)
    await async_until(lambda: len(bench.service.pending) == 3)
    bench.service.finish(2)
    bench.service.finish(1)
    for _ in range(20):
        await asyncio.sleep(0)
    assert bench.client.answers == []
    bench.service.finish(0)
    await task
    assert [answer["id"] for answer in bench.client.answers] == [0, 1, 2]


async def test_an_answer_comes_while_the_request_is_open(bench: StreamBench) -> None:
    task = bench.start()
    for number in range(3):
        bench.client.write({"id": number, "text": "good"})
        assert [answer["id"] for answer in await bench.answers(number + 1)] == [*range(number + 1)]
    assert bench.busy[0] is True
    await async_until(lambda: bench.busy[-1] is False)
    bench.client.write(b"", more=False)
    await task


async def test_only_a_window_of_texts_is_under_way(bench: StreamBench) -> None:
    bench.service.is_slow = True
    task = bench.start()
    bench.client.write(*texts(50), more=False)
    for number in range(50):
        await async_until(lambda end=number + WINDOW: len(bench.service.pending) == min(50, end))
        await asyncio.sleep(0)
        bench.service.finish(number)
    await task
    assert [answer["id"] for answer in bench.client.answers] == [*range(50)]


async def test_a_client_that_does_not_read_is_not_read_from(bench: StreamBench) -> None:
    task = bench.start()
    await async_until(lambda: bench.client.status)
    bench.client.reads.clear()
    for number in range(400):
        bench.client.write({"id": number, "text": "x" * 4000})
    before = -1
    while before != bench.client.taken:
        before = bench.client.taken
        for _ in range(50):
            await asyncio.sleep(0.001)
    assert before < 30  # the budget of all bodies is 20 000 bytes
    assert bench.bodies.held_bytes < 40_000
    bench.client.reads.set()
    bench.client.write(b"", more=False)
    await task
    assert [answer["id"] for answer in bench.client.answers] == [*range(400)]


async def test_without_other_bodies_a_megabyte_is_read_ahead(bench: StreamBench) -> None:
    bench.bodies = Bodies(10**9)
    bench.endpoint = PredictStreamEndpoint(
        bench.lifecycle, LIMITS, bench.bodies, observer=bench.observer, idle_s=1000, max_wait_ms=100
    )
    bench.service.is_slow = True
    task = bench.start()
    for number in range(1000):
        bench.client.write({"id": number, "text": "x" * 4000})
    await async_until(lambda: bench.bodies.held_bytes > 1024 * 1024)
    assert bench.bodies.held_bytes < 1024 * 1024 + 5000
    bench.client.leave()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_client_that_leaves_stops_its_texts(bench: StreamBench) -> None:
    bench.service.is_slow = True
    task = bench.start()
    bench.client.write(*texts(20))
    await async_until(lambda: len(bench.service.pending) == WINDOW)
    bench.client.leave()
    with pytest.raises(ClientDisconnect):
        await task
    assert all(pending.was_left for pending in bench.service.pending)


async def test_a_client_that_leaves_after_its_last_line_stops_its_texts(bench: StreamBench) -> None:
    bench.service.is_slow = True
    task = bench.start()
    bench.client.write(*texts(20), more=False)
    await async_until(lambda: len(bench.service.pending) == WINDOW)
    bench.client.leave()
    with pytest.raises(ClientDisconnect):
        await task
    assert all(pending.was_left for pending in bench.service.pending)


async def test_a_server_that_cancels_the_request_stops_its_texts(bench: StreamBench) -> None:
    bench.service.is_slow = True
    task = bench.start()
    bench.client.write(*texts(20))
    await async_until(lambda: len(bench.service.pending) == WINDOW)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert all(pending.was_left for pending in bench.service.pending)


async def test_a_drain_answers_what_is_under_way_and_says_so(bench: StreamBench) -> None:
    bench.service.is_slow = True
    task = bench.start()
    bench.client.write(*texts(20))
    await async_until(lambda: len(bench.service.pending) == WINDOW)
    bench.lifecycle.drain()
    bench.lifecycle.ending.set()
    for number in range(WINDOW):
        bench.service.finish(number)
    await task
    *answers, last = bench.client.answers
    assert [answer["id"] for answer in answers] == [*range(WINDOW)]
    assert last == {"error": {"status": 503, "detail": "the server is shutting down"}}


async def test_a_client_that_is_idle_is_told_so() -> None:
    bench = StreamBench(idle_s=0.05)
    task = bench.start()
    bench.client.write({"id": 1, "text": "good"}, b'{"id": 2, "te')
    await task
    assert bench.client.answers == [
        {"id": 1} | ANSWER,
        {"error": {"status": 408, "detail": "no line arrived in time"}},
    ]
    bench.check_end()


async def test_a_client_that_waits_for_the_model_is_not_idle() -> None:
    bench = StreamBench(idle_s=0.05)
    bench.service.is_slow = True
    task = bench.start()
    bench.client.write(*texts(1))
    await asyncio.sleep(0.2)
    bench.service.finish(0)
    await task
    assert [answer.get("id") for answer in bench.client.answers] == [0, None]


async def test_a_body_that_breaks_ends_the_stream_with_the_reason(bench: StreamBench) -> None:
    task = bench.start()
    bench.state[BROKEN] = (400, "the request is not valid HTTP/1.1 (RFC 9112)")
    bench.client.write(*texts(2), more=False)
    await task
    *answers, last = bench.client.answers
    assert [answer["id"] for answer in answers] == [0, 1]
    assert last["error"]["status"] == 400


async def test_a_key_that_is_revoked_ends_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.api.exchange._CHECK_EVERY_S", 0.0)
    refusals: list[Response] = []
    bench = StreamBench(authentication=lambda *_: refusals[0] if refusals else None)
    task = bench.start()
    bench.client.write(*texts(1))
    await bench.answers(1)
    refusals.append(Response(status_code=403))
    bench.client.write(*texts(1))
    await task
    assert bench.client.answers[1] == {"error": {"status": 403, "detail": "the API key is no longer valid"}}
    bench.check_end()


async def test_a_stream_waits_while_the_queue_is_long(bench: StreamBench) -> None:
    bench.service.waits_ms = [500, 300, 110, 90]
    bench.service.errors = [Overloaded("the queue is full", 0.0)]
    assert await bench.answer(*texts(1)) == [{"id": 0} | ANSWER]
    assert (bench.service.waits_ms, len(bench.service.queries)) == ([], 2)


async def test_a_line_that_waited_goes_to_the_version_that_answers_by_then(
    bench: StreamBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, after = bench.lifecycle.registry.models["m"], FakeService()

    def replace(_caller: str) -> float:
        model.wanted = [Version(spec_of(), state="ready", service=cast(Service, after))]
        model.versions = [*model.versions, *model.wanted]
        model.settle()
        return 500.0

    monkeypatch.setattr(bench.service, "predicted_wait_ms", replace)
    assert await bench.answer(*texts(1)) == [{"id": 0} | ANSWER]
    assert (len(bench.service.queries), len(after.queries)) == (0, 1)


async def test_with_a_time_limit_of_its_own_a_line_waits_only_so_long(bench: StreamBench) -> None:
    bench.service.waits_ms = [500.0] * 1000
    (answer,) = await bench.answer(*texts(1), headers={"x-request-timeout-ms": "50"})
    assert answer == failure(0, 429, "the queue is too long; try again later")


async def test_a_model_that_fails_is_waited_for(bench: StreamBench) -> None:
    bench.service.errors = [NotReady("the model is failing", 0.0)]
    assert await bench.answer(*texts(1)) == [{"id": 0} | ANSWER]


async def test_a_model_that_does_not_recover_is_an_error(bench: StreamBench) -> None:
    bench.service.errors = [NotReady("the model is failing", 0.0)] * 1000
    (answer,) = await bench.answer(*texts(1), headers={"x-request-timeout-ms": "50"})
    assert answer == failure(0, 503, "the model is failing")


async def test_each_line_counts_one_towards_the_rate_limit() -> None:
    rate = FakeRate(room=2)
    bench = StreamBench(rate)
    task = bench.start()
    bench.client.write({"id": 0, "text": "a"}, b"nonsense\n", *texts(3), more=False)
    await async_until(lambda: rate.refused > 1)
    assert [answer["id"] for answer in await bench.answers(3)] == [0, None, 0]  # the middleware has counted the first
    rate.room = 2
    await task
    assert len(bench.client.answers) == 5
    assert rate.room == 0
    bench.check_end()


async def test_a_rate_limit_without_room_for_long_ends_the_stream() -> None:
    rate = FakeRate(room=1)
    rate.reset_s = 3600
    bench = StreamBench(rate)
    *answers, last = await bench.answer(*texts(5))
    assert [answer["id"] for answer in answers] == [0, 1]
    assert last == {"error": {"status": 429, "detail": "slow down"}}
    bench.check_end()


async def test_short_lines_count_with_the_memory_that_they_take(bench: StreamBench) -> None:
    bench.service.is_slow = True
    task = bench.start()
    bench.client.write({"id": 0, "text": "good"}, b"1\n" * 100)
    await async_until(lambda: bench.bodies.held_bytes > 100 * 64)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_over_the_rate_limit_a_line_with_a_time_limit_gets_429() -> None:
    bench = StreamBench(FakeRate(room=0))
    answers = await bench.answer(*texts(2), headers={"x-request-timeout-ms": "50"})
    assert answers[1] == failure(1, 429, "slow down")


async def test_a_stream_without_room_for_its_line_ends(bench: StreamBench) -> None:
    other = bench.bodies.hold()
    other.count(30_000)
    task = bench.start()
    bench.client.write(*texts(2))
    await bench.answers(2)
    bench.client.write(b'{"text": "' + b"x" * 5000)
    await task
    assert bench.client.answers[2]["error"]["status"] == 503
    assert "id" not in bench.client.answers[2]
    other.count(0)
