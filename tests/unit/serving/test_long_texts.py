"""Texts with more tokens than the model reads, scored in windows by a service with a fake model."""

import asyncio
import gc
import random

import pytest

from app.errors import BackendError, DeadlineExceeded, Overloaded, TextTooLong
from app.types import Answer, Prediction
from tests.support.bench import MAX_TOKENS, OF_MODEL, Bench, scores, serving
from tests.support.waiting import HANG_S, async_until


def words(count: int, word: str = "w") -> str:
    return " ".join(f"{word}{place}" for place in range(count))


def lengths(count: int) -> list[int]:
    """The number of words in each window of a text."""
    windows = -(-count // MAX_TOKENS)
    return [count // windows + (place < count % windows) for place in range(windows)]


def averaged(count: int) -> dict[str, float]:
    """The expected scores of a text of `count` words in windows."""
    parts = lengths(count)
    return {label: sum(scores(part)[label] * part / count for part in parts) for label in scores(1)}


async def read(
    bench: Bench, *texts: str, window: bool = True, timeout_ms: float = HANG_S * 1000, **options: bool
) -> Answer:
    long_text = "window" if window else "truncate"
    return await bench.predict(*texts, timeout_ms=timeout_ms, long_text=long_text, **options)


def count(bench: Bench, name: str) -> float | None:
    """Return the value of a series, which may be one of the model."""
    registry = bench.metrics.registry
    return next(
        (value for labels in ({}, OF_MODEL) if (value := registry.get_sample_value(name, labels)) is not None), None
    )


async def test_each_window_is_scored_and_the_scores_are_averaged_by_length() -> None:
    async with serving() as bench:
        (found,) = (await read(bench, words(21))).predictions
        assert sorted(length for run in bench.runs for length in run) == [7, 7, 7]
        assert found == Prediction("7", 1.0, scores(7))
        (found,) = (await read(bench, words(9))).predictions
        assert found.scores == pytest.approx({**scores(1), "1": 0, "5": 5 / 9, "4": 4 / 9})
        assert (found.label, found.confidence, found.truncated) == ("5", found.scores["5"], False)


@pytest.mark.parametrize("window", [False, True])
async def test_a_text_that_fits_has_one_entry_in_the_cache_either_way(window: bool) -> None:
    async with serving() as bench:
        first = await read(bench, words(MAX_TOKENS), window=window)
        second = await read(bench, words(MAX_TOKENS), window=not window)
        assert (first.cache, second.cache) == ("miss", "hit")
        assert first.predictions == second.predictions
        assert bench.runs == [[MAX_TOKENS]]


@pytest.mark.parametrize("window", [False, True])
async def test_truncated_and_windowed_answers_are_cached_apart(window: bool) -> None:
    async with serving() as bench:
        for each in (window, not window, window):
            (found,) = (await read(bench, words(9), window=each)).predictions
            assert found.truncated is not each
            assert found.label == ("5" if each else "8")
        assert sorted(length for run in bench.runs for length in run) == [4, 5, 8]


async def test_truncated_and_windowed_requests_in_flight_are_kept_apart() -> None:
    async with serving(is_open=False) as bench:
        tasks = [asyncio.create_task(read(bench, words(9), window=bool(number % 2))) for number in range(6)]
        await async_until(lambda: bench.count("joined") == 4)
        bench.open.set()
        answers = await asyncio.gather(*tasks)
        assert [answer.predictions[0].label for answer in answers] == ["8", "5"] * 3
        assert [answer.cache for answer in answers] == ["miss"] * 2 + ["joined"] * 4
        assert sorted(length for run in bench.runs for length in run) == [4, 5, 8]
        assert (bench.count("miss"), bench.count("joined"), bench.count("hit")) == (2, 4, 0)


async def test_a_repeated_text_is_a_hit_and_counts_as_one_text() -> None:
    async with serving() as bench:
        answers = [await read(bench, words(30)) for _ in range(3)]
        assert [answer.cache for answer in answers] == ["miss", "hit", "hit"]
        assert answers[0].predictions == answers[1].predictions == answers[2].predictions
        assert (bench.count("miss"), bench.count("joined"), bench.count("hit")) == (1, 0, 2)
        assert count(bench, "sentiment_windowed_total") == 3
        assert count(bench, "sentiment_confidence_count") == 3
        assert count(bench, "sentiment_truncated_total") == 0


async def test_windows_that_the_cache_has_evicted_are_computed_again() -> None:
    async with serving(entries=2) as bench:
        for _ in range(2):
            (found,) = (await read(bench, words(23))).predictions
            assert found.scores == pytest.approx(averaged(23))


async def test_without_a_cache_every_window_is_computed() -> None:
    async with serving(entries=0) as bench:
        for _ in range(2):
            assert (await read(bench, words(9))).cache == "miss"
        assert sorted(length for run in bench.runs for length in run) == [4, 4, 5, 5]


async def test_no_text_has_too_many_tokens_for_windows() -> None:
    async with serving() as bench:
        with pytest.raises(TextTooLong):
            await read(bench, words(9), window=False, truncate=False)
        (found,) = (await read(bench, words(9), truncate=False)).predictions
        assert found.scores == pytest.approx(averaged(9))
        await read(bench, words(9), window=False)  # now the truncated answer is in the cache
        assert (await read(bench, words(9), truncate=False)).predictions == [found]


async def test_a_list_is_answered_in_order() -> None:
    async with serving() as bench:
        texts = [3, 20, 1, 9, 20, 8]
        answer = await read(bench, *map(words, texts))
        for length, found in zip(texts, answer.predictions, strict=True):
            assert found.scores == pytest.approx(averaged(length))
        assert (bench.count("miss"), bench.count("joined"), bench.count("hit")) == (5, 1, 0)
        assert count(bench, "sentiment_windowed_total") == 3


async def test_a_failing_window_fails_its_own_request_only() -> None:
    async with serving(is_open=False) as bench:
        bench.failing = {4}
        tasks = [asyncio.create_task(read(bench, *texts)) for texts in ((words(9), "a"), ("b",), (words(9),))]
        await async_until(lambda: bench.count("joined") == 1)
        bench.open.set()
        failed, other, joined = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(failed, BackendError)
        assert isinstance(joined, BackendError)
        assert isinstance(other, Answer)
        assert bench.cache._in_flight == {}
        assert count(bench, "sentiment_backend_errors_total") == 1
        bench.failing = set()
        (found,) = (await read(bench, words(9))).predictions
        assert found.scores == pytest.approx(averaged(9))
        gc.collect()  # an exception that was never retrieved would cause a warning here


async def test_the_windows_of_a_text_are_all_admitted_or_all_refused() -> None:
    async with serving(is_open=False, max_queue_texts=4) as bench:
        blockers = [asyncio.create_task(read(bench, text)) for text in ("x", "y")]
        await async_until(lambda: bench.scheduler.depth == 1)
        with pytest.raises(Overloaded):
            await read(bench, words(4 * MAX_TOKENS))
        assert bench.scheduler.depth == 1
        accepted = asyncio.create_task(read(bench, words(3 * MAX_TOKENS)))
        await async_until(lambda: bench.scheduler.depth == 4)
        bench.open.set()
        await asyncio.gather(*blockers, accepted)
        assert (await read(bench, words(4 * MAX_TOKENS))).predictions == [Prediction("8", 1.0, scores(8))]


async def test_more_windows_than_an_empty_queue_holds_are_too_long() -> None:
    async with serving(max_queue_texts=4) as bench:
        with pytest.raises(TextTooLong, match="more than 4 texts and windows"):
            await read(bench, words(3 * MAX_TOKENS), words(2 * MAX_TOKENS, "v"))
        assert bench.cache._in_flight == {}
        assert count(bench, "sentiment_refused_total") is None


async def test_a_single_text_takes_turns_with_windows() -> None:
    async with serving(is_open=False, max_batch_tokens=MAX_TOKENS) as bench:
        long = asyncio.create_task(read(bench, words(6 * MAX_TOKENS)))
        await async_until(lambda: bench.scheduler.depth == 5)
        single = asyncio.create_task(read(bench, "x"))
        await async_until(lambda: bench.scheduler.depth == 6)
        bench.open.set()
        await asyncio.gather(long, single)
        assert bench.runs.index([1]) <= 2


async def test_windows_leave_the_queue_with_the_last_caller_that_waits() -> None:
    async with serving(is_open=False) as bench:
        blocker = asyncio.create_task(read(bench, "x"))
        await async_until(lambda: bench.runs)
        first, second = (asyncio.create_task(read(bench, words(30))) for _ in range(2))
        await async_until(lambda: bench.count("joined") == 1)
        assert bench.scheduler.depth == 4
        first.cancel()
        await asyncio.wait([first])
        assert bench.scheduler.depth == 4
        second.cancel()
        await asyncio.wait([second])
        assert bench.scheduler.depth == 0
        bench.open.set()
        await blocker
        assert bench.runs == [[1]]
        assert bench.cache._in_flight == {}


async def test_a_long_text_in_flight_can_be_joined_during_overload() -> None:
    async with serving(is_open=False) as bench:
        blocker = asyncio.create_task(read(bench, "x"))
        first = asyncio.create_task(read(bench, words(30)))
        await async_until(lambda: bench.scheduler.depth > 0)
        bench.service._scheduler._admission._max_wait_ms = 0
        joined = asyncio.create_task(read(bench, words(30)))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await read(bench, words(31))
        bench.open.set()
        assert (await first).predictions == (await joined).predictions
        await blocker


async def test_windows_past_their_deadline_leave_the_queue() -> None:
    async with serving(is_open=False) as bench:
        blocker = asyncio.create_task(read(bench, "x"))
        await async_until(lambda: bench.runs)
        with pytest.raises(DeadlineExceeded):
            await read(bench, words(30), timeout_ms=2000)
        assert bench.scheduler.depth == 0
        bench.open.set()
        await blocker
        assert bench.runs == [[1]]


async def test_each_of_300_mixed_requests_gets_its_own_outcome() -> None:
    rng = random.Random(7)
    async with serving(entries=5) as bench:
        bench.failing = {6}

        async def one(number: int) -> str:
            await asyncio.sleep(rng.random() * 0.05)
            length, window = rng.randint(1, 40), bool(number % 2)
            task = asyncio.create_task(read(bench, words(length, f"w{number % 5}"), window=window))
            if number % 7 == 0:
                await asyncio.sleep(rng.random() * 0.01)
                task.cancel()
            parts = lengths(length) if window else [min(length, MAX_TOKENS)]
            try:
                (found,) = (await task).predictions
            except BackendError:
                assert 6 in parts
                return "failed"
            except asyncio.CancelledError:
                return "cancelled"
            assert found.truncated is (not window and length > MAX_TOKENS)
            assert found.scores == pytest.approx(averaged(length) if window else scores(parts[0]))
            return "answered"

        outcomes = await asyncio.gather(*(one(number) for number in range(300)))
        assert set(outcomes) == {"answered", "failed", "cancelled"}
        assert bench.cache._in_flight == {}
        assert bench.scheduler.depth == 0
