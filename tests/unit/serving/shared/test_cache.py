"""Lookups go together, writes go in the background, and a store that fails is left alone."""

import asyncio
import logging
from unittest.mock import patch

import pytest

from app.serving.shared.store import StoreError
from tests.support.shared_cache import MemoryStore, replica
from tests.support.waiting import HANG_S, async_until

PATIENT_S = 2 * HANG_S  # left to a request


async def test_what_one_process_writes_others_read() -> None:
    store = MemoryStore()
    async with replica(store) as one, replica(store) as other:
        assert await other.cache.get([b"a", b"b"], PATIENT_S) == [None, None]
        one.cache.put(b"a", b"1")
        await async_until(lambda: one.writes("written") == 1)
        assert await other.cache.get([b"a", b"b"], PATIENT_S) == [b"1", None]


async def test_lookups_that_arrive_meanwhile_go_together() -> None:
    async with replica(MemoryStore({b"3": b"three"})) as one:
        one.store.is_open.clear()
        lookups = [asyncio.create_task(one.cache.get([b"%d" % number], PATIENT_S)) for number in range(5)]
        await async_until(lambda: one.store.reads)
        lookups += [asyncio.create_task(one.cache.get([b"3", b"4"], PATIENT_S)) for _ in range(2)]
        lookups.append(asyncio.create_task(one.cache.get([b"nobody waits"], PATIENT_S)))
        await asyncio.sleep(0)
        lookups.pop().cancel()
        await asyncio.sleep(0)
        one.store.is_open.set()
        results = await asyncio.gather(*lookups)
        assert results == [[None], [None], [None], [b"three"], [None], [b"three", None], [b"three", None]]
        assert sum(one.store.reads) == 9
        assert len(one.store.reads) <= 3


async def test_a_long_list_is_read_in_several_commands() -> None:
    async with replica(MemoryStore({b"%d" % number: b"%d" % number for number in range(1500)})) as one:
        keys = [b"%d" % number for number in range(1500)]
        assert await one.cache.get(keys, PATIENT_S) == keys
        assert one.store.reads == [512, 512, 476]


async def test_too_many_lookups_at_a_time_are_skipped() -> None:
    async with replica() as one:
        assert await one.cache.get([b"a"] * 4097, PATIENT_S) is None
        assert one.lookups("skipped") == 4097
        assert await one.cache.get([b"a"] * 4096, PATIENT_S) == [None] * 4096


async def test_a_request_with_little_time_does_not_wait() -> None:
    async with replica() as one:
        assert await one.cache.get([b"a"], HANG_S) is None
        assert one.store.reads == []


async def test_only_one_lookup_waits_for_a_store_that_hangs(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "sentiment"):
        async with replica(timeout_s=0.001) as one:
            one.store.is_open.clear()
            assert await one.cache.get([b"a"], PATIENT_S) is None  # after its time-out
            one.store.is_failing = True  # as the time-out of the store itself would end it
            one.store.is_open.set()
            await async_until(lambda: not one.cache.is_available)
            for _ in range(100):
                assert await one.cache.get([b"a"], PATIENT_S) is None
            assert (one.lookups("failed"), one.lookups("skipped")) == (1, 100)
            assert one.store.reads == [1]
            one.cache.put(b"a", b"1")
            assert one.writes("dropped") == 1
    assert [record.getMessage() for record in caplog.records] == ["shared cache in use", "shared cache paused"]


async def test_it_is_used_again_when_the_store_is_back(caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryStore({b"a": b"1"}, is_failing=True)
    with caplog.at_level(logging.INFO, "sentiment"):
        async with replica(store, connected=False) as one:
            await async_until(lambda: store.connects == 2)  # one at once, and then a pause
            assert await one.cache.get([b"a"], PATIENT_S) is None
            store.is_failing = False

            async def is_back() -> bool:
                return await one.cache.get([b"a"], PATIENT_S) == [b"1"]

            await async_until(is_back)
    assert [record.getMessage() for record in caplog.records] == ["shared cache paused", "shared cache in use"]
    assert caplog.records[0].fields == {"use": "lookups", "reason": "Redis: it fails on purpose"}  # type: ignore[attr-defined]


async def test_a_short_failure_is_repaired_without_a_pause(caplog: pytest.LogCaptureFixture) -> None:
    async with replica() as one:
        caplog.clear()
        with caplog.at_level(logging.INFO, "sentiment"):
            with patch.object(one.store, "get_many", side_effect=StoreError("once")):
                assert await one.cache.get([b"a"], PATIENT_S) is None
            await async_until(lambda: one.cache.is_available)
            assert await one.cache.get([b"a"], PATIENT_S) == [None]
        assert not caplog.records


async def test_an_unexpected_error_is_a_failure_like_others() -> None:
    async with replica() as one:
        with patch.object(one.store, "get_many", side_effect=ZeroDivisionError):
            assert await one.cache.get([b"a"], PATIENT_S) is None
        assert one.lookups("failed") == 1


async def test_writes_are_dropped_when_they_are_behind() -> None:
    async with replica() as one:
        one.store.is_open.clear()
        for number in range(5000):
            one.cache.put(b"%d" % number, b"")
        assert one.writes("dropped") == 5000 - 4096
        one.store.is_open.set()
        await async_until(lambda: one.writes("written") == 4096)
        assert one.store.writes == 4096 / 128
        assert len(one.store.values) == 4096


async def test_writes_that_fail_pause_and_lookups_go_on(caplog: pytest.LogCaptureFixture) -> None:
    async with replica() as one:
        caplog.clear()
        failing = patch.object(one.store, "set_many", side_effect=OSError)
        with caplog.at_level(logging.INFO, "sentiment"), failing as write:
            for number in range(300):
                one.cache.put(b"%d" % number, b"")
            await async_until(lambda: one.writes("dropped"))
            one.cache.put(b"a", b"1")
        assert write.call_count == 2  # the first failure may be that of an old connection
        assert (one.writes("failed"), one.writes("dropped")) == (256, 45)
        assert await one.cache.get([b"a"], PATIENT_S) == [None]
        assert [record.fields["use"] for record in caplog.records] == ["writes"]  # type: ignore[attr-defined]


async def test_closing_ends_lookups_at_once() -> None:
    async with replica() as one:
        one.store.is_open.clear()
        one.cache.put(b"a", b"1")
        lookups = [asyncio.create_task(one.cache.get([b"a"], PATIENT_S)) for _ in range(2)]
        await async_until(lambda: one.store.reads)
        await one.cache.close()
        async with asyncio.timeout(HANG_S / 2):
            assert await asyncio.gather(*lookups) == [None, None]
        assert await one.cache.get([b"a"], PATIENT_S) is None
        one.cache.put(b"a", b"1")
        assert one.writes("dropped") == 1
