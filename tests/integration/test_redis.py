"""Rate limits that are counted in a real Redis."""

import asyncio
import logging
import socket
from collections.abc import Iterator

import pytest

from nginx.process import free_port
from tests.support.rate_limits import (
    check_that_a_list_of_which_one_text_was_counted_passes_later,
    check_that_a_list_passes_after_its_retry_time,
    check_that_texts_count_per_caller,
    rate_limit,
    take,
)
from tests.support.redis import redis
from tests.support.waiting import HANG_S


@pytest.fixture(scope="module")
def storage() -> Iterator[str]:
    port = free_port()
    with redis(port):
        yield f"redis://127.0.0.1:{port}"


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for a Redis that answers late."""
    monkeypatch.setattr("app.access.rate_limit._REDIS_TIMEOUT_S", HANG_S)


@pytest.mark.usefixtures("patient")
async def test_texts_are_counted_per_caller_and_refused_over_the_limit(storage: str) -> None:
    await check_that_texts_count_per_caller(storage)


@pytest.mark.usefixtures("patient")
async def test_a_list_passes_after_its_retry_time(storage: str) -> None:
    await check_that_a_list_passes_after_its_retry_time(storage)


@pytest.mark.usefixtures("patient")
async def test_a_list_of_which_one_text_was_counted_passes_after_its_retry_time(storage: str) -> None:
    await check_that_a_list_of_which_one_text_was_counted_passes_later(storage)


@pytest.mark.usefixtures("patient")
async def test_replicas_share_their_count(storage: str) -> None:
    async with rate_limit("10/day", storage) as first, rate_limit("10/day", storage) as second:
        await take(first, "a", 8)
        assert not (await take(second, "a", 3)).passed


@pytest.mark.usefixtures("patient")
async def test_without_redis_all_requests_pass_with_one_log_line(caplog: pytest.LogCaptureFixture) -> None:
    port = free_port()
    async with rate_limit("3/day", f"redis://127.0.0.1:{port}") as limit:
        with caplog.at_level(logging.ERROR, "sentiment"):
            assert [await limit.take("a", 3) for _ in range(3)] == [None] * 3
        assert [record.getMessage() for record in caplog.records] == ["rate limits not enforced"]
        with redis(port):
            assert (await take(limit, "a", 3)).remaining == 0  # counted again once Redis is back


async def test_a_hanging_redis_delays_requests_only_briefly() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"redis://127.0.0.1:{silent.getsockname()[1]}"
        async with asyncio.timeout(HANG_S), rate_limit("3/day", address) as limit:  # nothing else would end the request
            assert await limit.take("a", 1) is None
