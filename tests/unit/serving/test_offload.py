"""Work on long texts, in threads."""

import asyncio
import threading

import pytest

from app.serving.offload import Offload, is_short

LONG = ["x" * 3000, "y"]


def test_only_few_characters_together_are_short() -> None:
    assert is_short(["x" * 1000, "y" * 1000])
    assert not is_short(["x" * 1000, "y" * 1001])


async def test_texts_count_until_their_thread_is_done_even_when_nobody_waits() -> None:
    offload, go, admitted = Offload(), threading.Event(), list[int]()
    first = asyncio.ensure_future(offload.run(lambda _: go.wait(10), LONG, admitted.append))
    await asyncio.sleep(0.01)
    first.cancel()
    await asyncio.wait([first])
    second = asyncio.ensure_future(offload.run(len, LONG, admitted.append))
    assert offload.texts == 2
    go.set()
    assert await second == 2
    await asyncio.sleep(0.05)
    assert admitted == [2, 4]
    assert offload.texts == 0


async def test_texts_that_no_thread_could_be_had_for_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    offload = Offload()
    monkeypatch.setattr(asyncio.get_running_loop(), "run_in_executor", none)
    with pytest.raises(RuntimeError):
        await offload.run(len, LONG, lambda _: None)
    assert offload.texts == 0
