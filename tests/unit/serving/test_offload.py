"""Work on long texts runs in threads, and its texts count until it is done."""

import asyncio
import threading
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.serving.offload import Offload, is_short, is_simple, slices
from tests.support.waiting import HANG_S, async_until

LONG = ["x" * 3000, "y"]


def lengths(texts: Sequence[str]) -> list[int]:
    return [len(text) for text in texts]


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


@given(st.lists(st.integers(0, 40_000), max_size=12))
def test_a_slice_has_few_characters_or_one_text(sizes: list[int]) -> None:
    texts = [str(place % 10) * size for place, size in enumerate(sizes)]
    parts = [*slices(texts)]
    assert [text for part in parts for text in part] == texts
    assert all(len(part) == 1 or sum(lengths(part)) <= 32_000 for part in parts)
    assert all(sum(lengths(one)) + len(other[0]) > 32_000 for one, other in pairwise(parts))


async def test_the_results_of_slices_are_in_order() -> None:
    texts = ["x" * (size * 1000) for size in range(30)]
    assert await Offload().run(lengths, texts, lambda _: None) == lengths(texts)


async def test_texts_count_until_their_thread_is_done_even_if_cancelled() -> None:
    def hold(texts: Sequence[str]) -> list[int]:
        assert release.wait(HANG_S)
        return lengths(texts)

    offload, release, admitted = Offload(), threading.Event(), list[int]()
    first = asyncio.ensure_future(offload.run(hold, LONG, admitted.append))
    await async_until(lambda: offload.texts == 2)
    first.cancel()
    await asyncio.wait([first])
    second = asyncio.ensure_future(offload.run(lengths, LONG, admitted.append))
    assert offload.texts == 2
    release.set()
    assert await second == [3000, 1]
    await async_until(lambda: offload.texts == 0)
    assert admitted == [2, 4]


async def test_a_slice_that_nobody_waits_for_is_not_begun() -> None:
    def hold(texts: Sequence[str]) -> list[int]:
        begun.append(len(texts))
        assert release.wait(HANG_S)
        return lengths(texts)

    offload, release, begun = Offload(), threading.Event(), list[int]()
    run = asyncio.ensure_future(offload.run(hold, ["x" * 10_000] * 12, lambda _: None))
    await async_until(lambda: begun)
    assert offload.texts == 12
    run.cancel()
    await asyncio.wait([run])
    assert offload.texts == 3  # those of the slice that runs
    release.set()
    await async_until(lambda: offload.texts == 0)
    assert begun == [3]


async def test_texts_do_not_count_if_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    offload = Offload()
    monkeypatch.setattr(asyncio.get_running_loop(), "run_in_executor", fail)
    with pytest.raises(RuntimeError):
        await offload.run(lengths, LONG, lambda _: None)
    assert offload.texts == 0
