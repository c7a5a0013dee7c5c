"""Rate limits, counted in memory. `tests/integration/test_redis.py` counts them in Redis."""

import sys

import pytest

from app.access import RateLimit
from app.access.rate_limit import until_room
from app.access.windows import Window
from app.errors import SetupError, TextTooLong
from tests.support.rate_limits import (
    check_that_a_list_of_which_one_text_was_counted_passes_later,
    check_that_a_list_passes_after_its_retry_time,
    check_that_texts_count_per_caller,
    take,
)
from tests.support.waiting import async_until


async def test_texts_are_counted_per_caller_and_refused_over_the_limit() -> None:
    await check_that_texts_count_per_caller("memory")


async def test_a_list_passes_after_its_retry_time() -> None:
    await check_that_a_list_passes_after_its_retry_time("memory")


async def test_a_list_of_which_one_text_was_counted_passes_after_its_retry_time() -> None:
    await check_that_a_list_of_which_one_text_was_counted_passes_later("memory")


async def test_old_texts_no_longer_count() -> None:
    limit = RateLimit("5/second", "memory")

    async def passes() -> bool:
        return (await take(limit, "a", 5)).passed

    assert await passes()
    while await passes():  # on a slow machine the second is over
        pass
    await async_until(passes)


async def test_a_list_over_the_whole_limit_is_too_long() -> None:
    with pytest.raises(TextTooLong, match="over the rate limit of 10 per 1 minute"):
        await RateLimit("10/minute", "memory").take("a", 11)


@pytest.mark.parametrize("module", ["redis", "redis.asyncio"])
def test_redis_without_its_client_is_a_setup_error(monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SetupError, match="RATE_LIMIT_STORAGE"):
        RateLimit("3/day", "redis://127.0.0.1:1")


def test_an_invalid_redis_address_is_a_setup_error() -> None:
    with pytest.raises(SetupError, match="RATE_LIMIT_STORAGE"):
        RateLimit("3/day", "redis://127.0.0.1:port")


@pytest.mark.parametrize(
    ("counts", "room", "seconds"),
    [
        ((0, 6.0, 0, 0.0), 0, 0.0),
        ((8, 6.0, 0, 0.0), 4, 0.0),  # 4.8 of 8 count, rounded down to 4
        ((8, 6.0, 0, 0.0), 3, 1.0),  # 0.8 less after one second
        ((8, 6.0, 2, 16.0), 4, 2.25),
        ((8, 6.0, 2, 16.0), 2, 4.75),
        ((8, 6.0, 10, 16.0), 5, 10.0),  # until six tenths of the current window have faded
        ((0, 6.0, 10, 16.0), 0, 15.0),
        ((2, 1.0, 2, 11.0), 9, 0.0),
    ],
)
def test_time_until_there_is_room(counts: tuple[int, float, int, float], room: int, seconds: float) -> None:
    assert until_room(Window(*counts), window_s=10, room=room) == pytest.approx(seconds, abs=0.002)
