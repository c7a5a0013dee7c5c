"""Work on long texts runs in threads, and its texts count until it is done."""

import asyncio
import threading
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.scheduling import NOWHERE, Elsewhere
from app.serving.offload import Offload, is_short, is_simple, parts
from tests.support.waiting import HANG_S, async_until

LONG = ["x" * 3000, "y"]


def test_texts_are_short_by_their_characters_together() -> None:
    assert is_short(["x" * 1000, "y" * 1000])
    assert not is_short(["x" * 1000, "y" * 1001])
    assert is_short(["x" * 1600, "\xe4" * 100])
    assert not is_short(["x" * 1600, "\xe4" * 101])


@pytest.mark.parametrize(
    ("text", "simple"),
    [
        ("good " * 400, True),
        ("good " * 401, False),
        ("x" * 200, True),
        ("good " * 40 + "x" * 48, True),
        ("good " * 40 + "x" * 49, False),
        ("\uac01" * 66, True),
        ("good " * 40 + "\uac01" * 17, False),
        ("\uac01 " * 501, False),
        ("\U0001f600 " * 400, True),
        ("", True),
    ],
)
def test_a_text_is_simple_by_its_bytes_and_those_of_its_longest_word(text: str, simple: bool) -> None:
    assert is_simple([text]) is simple


def test_the_bytes_of_all_texts_count_for_a_simple_list() -> None:
    assert is_simple(["x" * 100, "\U0001f600" * 24])
    assert not is_simple(["x" * 100, "\U0001f600" * 25])
    assert is_simple([""] * 256)  # all of them blank, or too long
    assert is_simple([])


def lengths(texts: Sequence[str]) -> list[int]:
    return [len(text) for text in texts]


async def test_the_results_of_parts_are_in_order() -> None:
    texts = ["x" * (size * 1000) for size in range(30)]
    assert await Offload().run(lengths, texts, "a") == lengths(texts)


async def test_texts_count_until_their_thread_is_done_even_if_cancelled() -> None:
    offload, release = Offload(), threading.Event()

    def wait(texts: Sequence[str]) -> list[int]:
        release.wait(HANG_S)
        return lengths(texts)

    first = asyncio.ensure_future(offload.run(wait, LONG, "a"))
    await async_until(lambda: offload.texts("a") == Elsewhere(2, 2, {"a"}))
    first.cancel()
    await asyncio.wait([first])
    second = asyncio.ensure_future(offload.run(wait, LONG, "b"))
    await async_until(lambda: offload.texts("b").own == 2)
    assert offload.texts("a") == Elsewhere(4, 2, {"a", "b"})
    release.set()
    assert await second == [3000, 1]
    await async_until(lambda: offload.texts("a") == offload.texts("b") == NOWHERE)


async def test_texts_do_not_count_if_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    offload = Offload()
    monkeypatch.setattr(asyncio.get_running_loop(), "run_in_executor", fail)
    with pytest.raises(RuntimeError):
        await offload.run(lengths, LONG, "a")
    assert offload.texts("a") == NOWHERE


async def test_an_error_reaches_the_request_and_frees_the_thread() -> None:
    def fail(_: Sequence[str]) -> list[int]:
        raise ZeroDivisionError

    offload = Offload()
    for _ in range(40):
        with pytest.raises(ZeroDivisionError):
            await offload.run(fail, LONG, "a")
    assert await offload.run(lengths, LONG, "a") == [3000, 1]


@given(st.lists(st.integers(0, 12_000), min_size=1, max_size=20))
def test_parts_are_the_whole_list_and_short(sizes: list[int]) -> None:
    texts = ["x" * size for size in sizes]
    divided = [*parts(texts)]
    assert [text for part in divided for text in part] == texts
    assert all(len(part) == 1 or sum(map(len, part)) <= 10_000 for part in divided)


async def test_a_caller_does_not_wait_for_the_texts_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.serving.offload.usable_cores", lambda: 1)
    offload, release, order = Offload(), threading.Event(), list[str]()

    def work(texts: Sequence[str]) -> list[int]:
        release.wait(HANG_S)
        order.extend(text[0] for text in texts)
        return lengths(texts)

    flood = [asyncio.ensure_future(offload.run(work, ["f" * 9000] * 8, "flood")) for _ in range(5)]
    await async_until(lambda: offload.texts("flood").own == 40)
    guest = asyncio.ensure_future(offload.run(work, ["g" * 3000], "guest"))
    await async_until(lambda: offload.texts("guest").own == 1)
    release.set()
    assert await guest == [3000]
    assert "".join(order).index("g") == 1
    await asyncio.gather(*flood)


async def test_what_is_worked_on_many_times_takes_so_much_of_a_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.serving.offload.usable_cores", lambda: 1)
    offload, release, order = Offload(), threading.Event(), list[str]()

    def work(texts: Sequence[str]) -> list[int]:
        release.wait(HANG_S)
        order.extend(text[0] for text in texts)
        return lengths(texts)

    flood = [asyncio.ensure_future(offload.run(work, ["f" * 1000] * 2, "flood", copies=32)) for _ in range(3)]
    await async_until(lambda: offload.texts("flood").own == 192)
    guest = asyncio.ensure_future(offload.run(work, ["g" * 9000] * 3, "guest"))
    await async_until(lambda: offload.texts("guest").own == 3)
    release.set()
    assert await guest == [9000] * 3
    assert "".join(order)[:4] == "fggg"  # one of the texts of 1000 characters has begun before
    await asyncio.gather(*flood)
    assert offload.texts("flood").texts == 0


async def test_texts_that_nobody_waits_for_are_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.serving.offload.usable_cores", lambda: 1)
    offload, release, done = Offload(), threading.Event(), list[int]()

    def work(texts: Sequence[str]) -> list[int]:
        release.wait(HANG_S)
        done.extend(lengths(texts))
        return lengths(texts)

    left = [asyncio.ensure_future(offload.run(work, ["x" * 9000], "a")) for _ in range(3)]
    await async_until(lambda: offload.texts("a").own == 3)
    for each in left:
        each.cancel()
    await asyncio.wait(left)
    release.set()
    assert await offload.run(work, ["x" * 3000], "a") == [3000]
    assert done == [9000, 3000]
