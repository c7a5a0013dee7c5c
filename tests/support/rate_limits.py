"""Checks that hold for rate limits wherever they are counted."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.access import Quota, RateLimit


@asynccontextmanager
async def rate_limit(rate: str, storage: str = "memory") -> AsyncIterator[RateLimit]:
    limit = RateLimit(rate, storage)
    try:
        yield limit
    finally:
        await limit.close()


async def take(limit: RateLimit, caller: str, texts: int, counted: int = 0) -> Quota:
    quota = await limit.take(caller, texts, counted=counted)
    assert quota is not None
    return quota


async def check_that_texts_count_per_caller(storage: str) -> None:
    async with rate_limit("10/hour", storage) as limit:
        first = await take(limit, "a", 7)
        assert (first.limit, first.remaining, first.passed) == (10, 3, True)
        assert 1 <= first.reset_s <= 3601  # the end of the window with a margin, rounded up
        over = await take(limit, "a", 4)
        assert (over.remaining, over.passed) == (3, False)  # a list passes as a whole or not at all
        assert limit.refusal(over).retry_after_s == over.reset_s
        assert (await take(limit, "a", 3)).remaining == 0
        assert (await take(limit, "b", 10)).passed


async def check_that_a_list_passes_after_its_retry_time(storage: str) -> None:
    async with rate_limit("4/second", storage) as limit:
        assert (await take(limit, "list", 4)).passed
        while (refused := await take(limit, "list", 4)).passed:  # on a slow machine the second is over
            pass
        await asyncio.sleep(refused.reset_s)
        assert (await take(limit, "list", 4)).passed


async def check_that_a_list_of_which_one_text_was_counted_passes_later(storage: str) -> None:
    """The retry time is that of the whole list, because the next attempt needs room for all of it."""
    async with rate_limit("4/second", storage) as limit:
        refused = None
        while refused is None or refused.passed:  # on a slow machine the second is over
            await take(limit, "list", 1)
            refused = await take(limit, "list", 4, counted=1)
        await asyncio.sleep(refused.reset_s)
        assert (await take(limit, "list", 1)).passed
        assert (await take(limit, "list", 4, counted=1)).passed
