"""With a cache per key, neither a response nor its time shows what was sent with another key."""

import asyncio

import pytest

from app.config import Settings
from app.errors import InvalidInput, TextTooLong
from app.models import _serving_limits
from app.serving import Query
from app.types import Answer
from tests.support.bench import Bench, serving
from tests.support.waiting import async_until


async def ask(bench: Bench, caller: str | None, *texts: str) -> Answer:
    return await bench.service.predict(Query(texts, timeout_ms=60_000, caller=caller))


async def test_each_caller_has_its_own_cached_predictions() -> None:
    async with serving(cache_per_caller=True) as bench:
        outcomes = [(await ask(bench, caller, "a b")).cache for caller in ("one", "two", "one", "two", "three")]
        assert outcomes == ["miss", "miss", "hit", "hit", "miss"]
        assert len(bench.runs) == 3


async def test_callers_do_not_join_computations_of_others() -> None:
    async with serving(cache_per_caller=True, is_open=False) as bench:
        requests = [asyncio.create_task(ask(bench, caller, "a b")) for caller in ("one", "two", "one")]
        await async_until(lambda: bench.count("joined") == 1 and bench.count("miss") == 2)
        bench.open.set()
        answers = await asyncio.gather(*requests)
        assert [answer.cache for answer in answers] == ["miss", "miss", "joined"]
        assert len({answer.predictions[0].label for answer in answers}) == 1


async def test_windows_of_a_long_text_are_not_shared_either() -> None:
    async with serving(cache_per_caller=True) as bench:

        async def outcome(caller: str) -> str:
            query = Query(["a " * 50], timeout_ms=60_000, caller=caller, long_text="window")
            return (await bench.service.predict(query)).cache

        assert [await outcome(caller) for caller in ("one", "two", "one")] == ["miss", "miss", "hit"]


async def test_a_shared_cache_serves_every_caller() -> None:
    async with serving() as bench:
        assert [(await ask(bench, caller, "a b")).cache for caller in ("one", "two", None)] == ["miss", "hit", "hit"]


async def test_texts_that_are_not_valid_are_refused_with_a_cache_per_caller() -> None:
    async with serving(cache_per_caller=True) as bench:
        with pytest.raises(InvalidInput, match="no visible character"):
            await ask(bench, "one", "\u200b")
        with pytest.raises(TextTooLong):
            await ask(bench, "one", "a" * 6000)


def test_without_keys_the_cache_is_shared() -> None:
    assert not _serving_limits(Settings(cache_scope="key")).cache_per_caller
    assert _serving_limits(Settings(cache_scope="key", api_keys_file="keys.yaml")).cache_per_caller  # type: ignore[arg-type]
    assert not _serving_limits(Settings(api_keys_file="keys.yaml")).cache_per_caller  # type: ignore[arg-type]
