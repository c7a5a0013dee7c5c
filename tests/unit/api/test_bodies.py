"""Bodies are read as they arrive, and limited in the memory that they take together."""

import asyncio
import json
from typing import Any

import pytest
from starlette.requests import ClientDisconnect

from app.api.bodies import SMALL_BYTES, Bodies
from app.api.form import Form
from app.api.parser import BodyParser
from app.errors import BodiesFull, TextTooLong
from tests.support.client import AsgiClient
from tests.support.middleware import Events
from tests.support.waiting import async_until

FORM = Form(["texts"], 10_000, "texts", 1000)
TEXTS = ["so good " * 100] * 10
LARGE = json.dumps({"texts": TEXTS}).encode()  # 8 KB


def chunks(body: bytes, size: int) -> list[bytes]:
    return [body[start : start + size] for start in range(0, len(body), size)]


async def read(bodies: Bodies, client: AsgiClient, max_bytes: int = 10**6) -> Any:
    with bodies.hold() as body:
        content = await body.read(client.receive, max_bytes, lambda: BodyParser(FORM))
        return content.value if isinstance(content, BodyParser) else content


async def test_a_small_body_is_put_together_from_its_chunks() -> None:
    assert await read(Bodies(100), AsgiClient(b'{"te', b"", b'xt": ', b'"good"}')) == b'{"text": "good"}'


@pytest.mark.parametrize("size", [1, 1000, 5000, 10**6])
async def test_a_large_body_is_parsed_whatever_chunks_it_comes_in(size: int) -> None:
    assert await read(Bodies(10**6), AsgiClient(*chunks(LARGE, size), b"")) == {"texts": TEXTS}


async def test_a_body_of_several_pieces_is_parsed() -> None:
    texts = TEXTS * 100
    assert await read(Bodies(10**8), AsgiClient(json.dumps({"texts": texts}).encode())) == {"texts": texts}


async def test_a_body_may_be_exactly_as_long_as_the_limit() -> None:
    assert await read(Bodies(100), AsgiClient(b"1234", b"5678"), 8) == b"12345678"
    assert await read(Bodies(10**6), AsgiClient(LARGE), len(LARGE))


@pytest.mark.parametrize("start", [b"1234", LARGE])
async def test_a_body_over_the_limit_is_refused_before_it_is_complete(start: bytes) -> None:
    client = AsgiClient(start, b"5", complete=False)
    with pytest.raises(TextTooLong, match=f"larger than {len(start)} bytes"):
        await read(Bodies(10**6), client, len(start))


@pytest.mark.parametrize("start", [b"1234", LARGE])
async def test_a_client_that_leaves_during_the_body_is_noticed(start: bytes) -> None:
    client = AsgiClient(start, complete=False)
    client.leave()
    bodies = Bodies(10**6)
    with pytest.raises(ClientDisconnect):
        await read(bodies, client)
    assert bodies.held_bytes == 0


async def test_bodies_that_are_not_complete_count_until_their_requests_end() -> None:
    bodies = Bodies(10**6)
    tasks = [asyncio.create_task(read(bodies, AsgiClient(LARGE, b" " * 100, complete=False))) for _ in range(3)]
    await async_until(lambda: bodies.held_bytes == 3 * (len(LARGE) + 100))
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert bodies.held_bytes == 0


async def test_beyond_the_limit_a_large_body_is_refused_and_a_small_one_is_not() -> None:
    bodies = Bodies(2 * len(LARGE) + 1000)
    waiting = [asyncio.create_task(read(bodies, AsgiClient(LARGE, complete=False))) for _ in range(2)]
    await async_until(lambda: bodies.held_bytes == 2 * len(LARGE))
    with pytest.raises(BodiesFull):
        await read(bodies, AsgiClient(LARGE))
    assert bodies.held_bytes == 2 * len(LARGE)
    small = b" " * SMALL_BYTES
    assert await read(bodies, AsgiClient(small[:10], small[10:])) == small
    waiting.pop().cancel()
    await async_until(lambda: bodies.held_bytes == len(LARGE))
    assert await read(bodies, AsgiClient(LARGE))
    waiting.pop().cancel()


async def test_texts_may_take_more_memory_than_their_json_and_are_counted() -> None:
    bodies = Bodies(2 * len(LARGE))
    with bodies.hold() as body:
        await body.read(AsgiClient(LARGE).receive, 10**6, lambda: BodyParser(FORM))
        with pytest.raises(BodiesFull):
            body.resize(3 * len(LARGE))
    assert bodies.held_bytes == 0


async def test_refused_bodies_are_logged_once_in_a_while(events: Events, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 100.0
    monkeypatch.setattr("app.api.bodies.time.monotonic", lambda: now_s)
    bodies = Bodies(100)
    for now_s in (100.0, 101.0, 109.0, 111.0):  # noqa: B007 - the clock reads it
        with pytest.raises(BodiesFull):
            await read(bodies, AsgiClient(LARGE))
    assert [event["refused"] for event in events("bodies refused")] == [1, 3]


async def test_a_large_body_is_parsed_off_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[str] = []

    def feed(_parser: BodyParser, _data: bytes, *, is_last: bool) -> None:
        threads.append(asyncio.current_task().get_name() if _has_loop() else "none")  # type: ignore[union-attr]

    monkeypatch.setattr(BodyParser, "feed", feed)
    await read(Bodies(10**6), AsgiClient(LARGE))
    assert threads == ["none"]


def _has_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
