"""Work on long texts runs in threads, and its texts count until it is done."""

import asyncio
import threading

import pytest

from app.serving.offload import Offload, is_short
from tests.support.waiting import HANG_S, async_until

LONG = ["x" * 3000, "y"]


def test_texts_are_short_by_their_characters_together() -> None:
    assert is_short(["x" * 1000, "y" * 1000])
    assert not is_short(["x" * 1000, "y" * 1001])


async def test_texts_count_until_their_thread_is_done_even_if_cancelled() -> None:
    offload, release, admitted = Offload(), threading.Event(), list[int]()
    first = asyncio.ensure_future(offload.run(lambda _: release.wait(HANG_S), LONG, admitted.append))
    await async_until(lambda: offload.texts == 2)
    first.cancel()
    await asyncio.wait([first])
    second = asyncio.ensure_future(offload.run(len, LONG, admitted.append))
    assert offload.texts == 2
    release.set()
    assert await second == 2
    await async_until(lambda: offload.texts == 0)
    assert admitted == [2, 4]


async def test_texts_do_not_count_if_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    offload = Offload()
    monkeypatch.setattr(asyncio.get_running_loop(), "run_in_executor", fail)
    with pytest.raises(RuntimeError):
        await offload.run(len, LONG, lambda _: None)
    assert offload.texts == 0
