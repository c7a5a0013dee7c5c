"""In a partial query, a text that cannot be predicted gets an error in its place."""

import asyncio

import pytest

from app.errors import BackendError, DeadlineExceeded, InvalidInput, NotReady, Overloaded, TextTooLong
from app.types import Answer, Prediction
from tests.support.bench import OF_MODEL, serving
from tests.support.waiting import async_until

LONG = " ".join("abcdefghij")  # ten tokens; the model reads eight


def shown(answer: Answer) -> list[str]:
    """The label of each text, or the type of its error."""
    return [each.label if isinstance(each, Prediction) else type(each).__name__ for each in answer.results]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", InvalidInput),
        (" \n", InvalidInput),
        ("\u200b", InvalidInput),
        ("x" * 5001, TextTooLong),
        (" " * 5001, TextTooLong),
        ("\ufdfa" * 1000, TextTooLong),  # eighteen characters each, once normalised
        (LONG, TextTooLong),
        ("bad bad bad bad", BackendError),
    ],
)
async def test_a_bad_text_gets_its_error_and_the_others_their_labels(text: str, error: type[Exception]) -> None:
    async with serving() as bench:
        bench.failing = {4}
        answer = await bench.predict("a", text, "a b", text, partial=True, truncate=False)
        assert shown(answer) == ["1", error.__name__, "2", error.__name__]
        assert [prediction.label for prediction in answer.predictions] == ["1", "2"]
        assert (await bench.predict("a", "a b")).cache == "hit"


async def test_each_error_is_the_one_of_its_text() -> None:
    async with serving() as bench:
        bench.failing = {4}
        answer = await bench.predict("x" * 5001, "", LONG, "w x y z", "a", partial=True, truncate=False)
        assert [str(result) for result in answer.results[:4]] == [
            "the text has more than 5000 characters",
            "the text has no visible character",
            "the text has more than 8 tokens, the limit of the model",
            "no",
        ]


async def test_a_text_that_equals_the_key_of_long_ones_is_valid() -> None:
    async with serving() as bench:
        assert shown(await bench.predict("too long", "x" * 5001, partial=True)) == ["2", "TextTooLong"]


@pytest.mark.parametrize("entries", [0, 100])
async def test_texts_that_are_all_invalid_need_no_model(entries: int) -> None:
    async with serving(entries=entries, max_queue_texts=1) as bench:
        answer = await bench.predict("", " ", "\u200b", partial=True)
        assert shown(answer) == ["InvalidInput"] * 3
        assert (bench.runs, bench.count("hit"), bench.count("miss"), bench.count("joined")) == ([], 0, 0, 0)
        assert (answer.cache, answer.infer_ms) == ("hit", 0)
        assert shown(await bench.predict(partial=True)) == []


async def test_invalid_texts_take_no_room_in_the_queue() -> None:
    async with serving(max_queue_texts=2) as bench:
        assert shown(await bench.predict("a", "", "a b", " ", partial=True)) == [
            "1",
            "InvalidInput",
            "2",
            "InvalidInput",
        ]


async def test_only_texts_with_a_prediction_are_counted() -> None:
    async with serving() as bench:
        bench.failing = {4}
        await bench.predict("a", "", "w x y z", "a", partial=True)
        assert (bench.count("miss"), bench.count("joined"), bench.count("hit")) == (2, 1, 0)
        await bench.predict("a", "", LONG, partial=True, truncate=False)
        assert (bench.count("miss"), bench.count("joined"), bench.count("hit")) == (2, 1, 1)
        sample = bench.metrics.registry.get_sample_value
        assert sample("sentiment_predictions_total", {"label": "1", **OF_MODEL}) == 3
        assert sample("sentiment_backend_errors_total", OF_MODEL) == 1


async def test_cached_and_cut_texts_fail_alone_if_cutting_is_off() -> None:
    async with serving() as bench:
        await bench.predict(LONG, "a")
        assert shown(await bench.predict("a", LONG, partial=True, truncate=False)) == ["1", "TextTooLong"]
        assert shown(await bench.predict("a", LONG, partial=True)) == ["1", "8"]


async def test_a_text_in_flight_that_is_cut_fails_alone_if_cutting_is_off() -> None:
    async with serving(is_open=False) as bench:
        first = asyncio.create_task(bench.labels(LONG))
        await async_until(lambda: bench.runs)
        second = asyncio.create_task(bench.predict(LONG, "a", partial=True, truncate=False))
        await async_until(lambda: bench.scheduler.depth == 1)
        bench.open.set()
        assert shown(await second) == ["TextTooLong", "1"]
        assert await first == ["8"]


async def test_a_text_of_which_one_window_fails_fails_alone() -> None:
    async with serving() as bench:
        bench.failing = {4}
        lengths = [8 + 4, 3, 7 + 7]  # two windows of six, one of three, two of seven
        bench.failing = {6}
        texts = [" ".join(f"{index}{number}" for number in range(length)) for index, length in enumerate(lengths)]
        answer = await bench.predict(*texts, partial=True, long_text="window")
        assert shown(answer) == ["BackendError", "3", "7"]


async def test_long_texts_that_are_prepared_in_a_thread_may_fail_alone() -> None:
    async with serving() as bench:
        texts = ["x" * 3000, " " * 3000, "y" * 5001, "a"]
        assert shown(await bench.predict(*texts, partial=True)) == ["1", "InvalidInput", "TextTooLong", "1"]


async def test_a_failing_text_that_two_requests_share_fails_each_as_it_asks() -> None:
    async with serving(is_open=False) as bench:
        bench.failing = {4}
        running = asyncio.create_task(bench.labels("x"))
        await async_until(lambda: bench.runs)
        partial = asyncio.create_task(bench.predict("a", "w x y z", partial=True))
        await async_until(lambda: bench.scheduler.depth == 2)
        strict = [asyncio.create_task(bench.labels(*texts)) for texts in (["a b", "a", "w x y z"], ["w x y z", "a"])]
        await async_until(lambda: bench.count("joined") == 4)
        bench.open.set()
        assert shown(await partial) == ["1", "BackendError"]
        assert await running == ["1"]
        errors = await asyncio.gather(*strict, return_exceptions=True)
        assert [error.loc for error in errors if isinstance(error, BackendError)] == [(2,), (0,)]


@pytest.mark.parametrize("long_text", ["truncate", "window"])
async def test_the_error_of_a_text_that_the_model_fails_on_has_its_index(long_text: str) -> None:
    async with serving() as bench:
        bench.failing = {6}
        twelve = " ".join("abcdefghijkl") if long_text == "window" else " ".join("abcdef")
        with pytest.raises(BackendError) as caught:
            await bench.labels("a", "a b", "a", twelve, "a b c", long_text=long_text)
        assert caught.value.loc == (3,)


async def test_what_is_wrong_with_the_request_fails_all_of_it() -> None:
    async with serving(is_open=False, max_queue_texts=2) as bench:
        running = asyncio.create_task(bench.labels("x"))
        await async_until(lambda: bench.runs)
        with pytest.raises(Overloaded):
            await bench.predict("a", "b", "c", "", partial=True)
        with pytest.raises(DeadlineExceeded):
            await bench.predict("a", "", partial=True, timeout_ms=100)
        assert bench.scheduler.depth == 0
        waiting = asyncio.create_task(bench.predict("a", "", partial=True))
        await async_until(lambda: bench.scheduler.depth == 1)
        bench.scheduler.close()
        with pytest.raises(NotReady):
            await waiting
        with pytest.raises(NotReady):
            await running
