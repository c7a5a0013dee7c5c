"""Lists are formed by number and size, lazily."""

import json
from collections.abc import AsyncIterator, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rt_sentiment_client.lists import ListFormer, TextList, encode, form, form_async


def decoded(lists: list[TextList]) -> list[object]:
    return [json.loads(text) for formed in lists for text in formed.texts]


@settings(max_examples=40)
@given(
    texts=st.lists(st.text() | st.characters(categories=["Cs"])), max_texts=st.integers(1, 5), room=st.integers(1, 60)
)
def test_lists_have_all_texts_in_order_and_stay_below_both_limits(texts: list[str], max_texts: int, room: int) -> None:
    lists = list(form(texts, ListFormer(max_texts, 1024 + room)))
    assert decoded(lists) == texts
    assert [formed.first for formed in lists] == [sum(map(len, lists[:number])) for number in range(len(lists))]
    for formed in lists:
        assert 1 <= len(formed) <= max_texts
        assert len(formed) == 1 or len(b",".join(formed.texts)) <= room


@settings(max_examples=40)
@given(texts=st.lists(st.text(), min_size=2))
def test_halves_have_the_texts_of_the_list(texts: list[str]) -> None:
    (whole,) = form(texts, ListFormer(1000, 1 << 20))
    first, second = whole.halves()
    assert [*first.texts, *second.texts] == [*whole.texts]
    assert (first.first, second.first) == (0, len(first))
    assert min(len(first), len(second)) >= 1


@pytest.mark.parametrize("value", [None, 5, float("nan"), b"bytes", ["text"]])
def test_what_is_not_a_text_is_null(value: object) -> None:
    assert encode(value) == b"null"


def test_texts_are_read_as_lists_are_needed() -> None:
    read = []

    def endless() -> Iterator[str]:
        while True:
            read.append("text")
            yield "text"

    lists = form(endless(), ListFormer(3, 1 << 20))
    next(lists)
    next(lists)
    assert len(read) == 6


def failing() -> Iterator[str]:
    yield "one"
    yield "two"
    raise OSError("the disk is gone")


async def failing_slowly() -> AsyncIterator[str]:
    for text in failing():
        yield text


def test_texts_before_an_error_of_the_iterable_are_in_lists() -> None:
    former = ListFormer(10, 1 << 20)
    assert decoded(list(form(failing(), former))) == ["one", "two"]
    assert str(former.failure) == "the disk is gone"


@pytest.mark.parametrize("texts", [failing, failing_slowly])
async def test_asynchronous_iterables_are_treated_alike(texts) -> None:  # type: ignore[no-untyped-def]
    former = ListFormer(1, 1 << 20)
    assert decoded([formed async for formed in form_async(texts(), former)]) == ["one", "two"]
    assert str(former.failure) == "the disk is gone"
