"""Texts become predictions: normalised, looked up, tokenised and queued, each once."""

import asyncio
import gc
import threading
from collections.abc import Sequence
from unittest.mock import Mock

import pytest

from app.errors import BackendError, DeadlineExceeded, InvalidInput, NotReady, Overloaded, TextTooLong
from app.inference import Tokenizer, normalise
from app.serving import Query
from app.types import Answer, Encoding
from tests.support.bench import OF_MODEL, serving
from tests.support.waiting import HANG_S, async_until


async def test_each_text_gets_its_own_answer_in_order() -> None:
    async with serving() as bench:
        assert await bench.labels("a", "a b c", "a b") == ["1", "3", "2"]


async def test_a_cached_text_is_not_computed_again_in_another_spelling() -> None:
    async with serving() as bench:
        first = await bench.predict("a  b")
        second = await bench.predict(" a\tb\u200b")
        assert (first.cache, second.cache) == ("miss", "hit")
        assert first.predictions == second.predictions
        assert bench.runs == [[2]]
        assert second.infer_ms == 0
        assert first.infer_ms > 0


async def test_a_cached_text_is_answered_without_giving_up_control() -> None:
    async with serving() as bench:
        answer = await bench.predict("a b")
        coroutine = bench.service.begin(Query([" a\tb "], 1000))
        with pytest.raises(StopIteration) as returned:
            coroutine.send(None)
        assert returned.value.value == Answer(answer.predictions, "hit")
        assert (bench.count("miss"), bench.count("hit"), bench.runs) == (1, 1, [[2]])


async def test_the_prediction_of_a_cut_text_is_not_that_of_the_whole_text() -> None:
    async with serving() as bench:
        long = " ".join("abcdefghij")
        await bench.predict(long)
        assert (await bench.predict(long)).cache == "hit"
        assert (await bench.predict(long, long_text="window")).cache == "miss"
        with pytest.raises(TextTooLong):
            await bench.predict(long, truncate=False)


async def test_a_miss_is_normalised_looked_up_and_admitted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving() as bench:
        get = Mock(wraps=bench.cache.get)
        admit = Mock(wraps=bench.service._scheduler.admit)
        normalised = Mock(wraps=normalise)
        monkeypatch.setattr(bench.cache, "get", get)
        monkeypatch.setattr(bench.service._scheduler, "admit", admit)
        monkeypatch.setattr("app.serving.preparation.normalise", normalised)
        await bench.predict("a b")
        assert (get.call_count, admit.call_count, normalised.call_count) == (1, 1, 1)


async def test_a_text_is_refused_at_once_while_the_queue_is_too_long() -> None:
    async with serving(is_open=False, max_wait_ms=1) as bench:
        first = asyncio.create_task(bench.labels("a b"))
        await async_until(lambda: bench.service.predicted_wait_ms() > 1)
        coroutine = bench.service.begin(Query(["another"], HANG_S * 1000))
        with pytest.raises(Overloaded):
            coroutine.send(None)
        bench.open.set()
        assert await first == ["2"]
        bench.scheduler.close()
        with pytest.raises(NotReady):
            await bench.predict("another")


async def test_without_a_cache_each_text_is_computed() -> None:
    async with serving(entries=0) as bench:
        for _ in range(2):
            assert (await bench.predict("a")).cache == "miss"
        assert len(bench.runs) == 2


async def test_a_list_computes_a_repeated_text_once() -> None:
    async with serving() as bench:
        assert await bench.labels("a b", "c", "a b", "a  b") == ["2", "1", "2", "2"]
        assert sorted(length for run in bench.runs for length in run) == [1, 2]


@pytest.mark.parametrize("blank", ["", " \n", "\u200b"])
async def test_the_error_of_a_blank_text_has_its_index(blank: str) -> None:
    async with serving() as bench:
        with pytest.raises(InvalidInput) as caught:
            await bench.labels("a", blank, "c")
        assert caught.value.loc == (1,)
        assert bench.runs == []


async def test_a_text_with_too_many_tokens_is_cut_or_refused() -> None:
    async with serving() as bench:
        long = "one two three four five six seven eight nine"
        answer = await bench.predict("a", long)
        assert [prediction.truncated for prediction in answer.predictions] == [False, True]
        for text in (long, "new " + long):  # cached and not
            with pytest.raises(TextTooLong, match="8 tokens"):
                await bench.predict(text, truncate=False)
        assert (await bench.predict("a", truncate=False)).cache == "hit"


async def test_a_text_that_would_be_far_too_long_is_not_normalised(monkeypatch: pytest.MonkeyPatch) -> None:
    normalised = Mock(wraps=normalise)
    monkeypatch.setattr("app.serving.preparation.normalise", normalised)
    async with serving() as bench:
        with pytest.raises(TextTooLong, match="more than 5000 characters"):
            await bench.labels("\ufdfa" * 5000)
        assert not normalised.called
        assert await bench.labels(f"<a title='{chr(0xFDFA) * 400}'>good</a>") == [
            "1"
        ]  # long only until its tag is gone


async def test_a_text_with_long_words_is_tokenised_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    here: list[bool] = []
    encode_many = Tokenizer.encode_many
    monkeypatch.setattr(
        Tokenizer, "encode_many", lambda *args, **options: here.append(options["here"]) or encode_many(*args, **options)
    )
    async with serving() as bench:
        assert await bench.labels("good " * 3, "\uac01" * 80) == ["3", "1"]
        assert await bench.labels("bad " * 40) == ["8"]
    assert here == [False, True]


async def test_a_list_past_its_deadline_is_prepared_no_further(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = threading.Event()
    release = threading.Event()
    normalised: list[str] = []

    def held(text: str) -> str:
        normalised.append(text)
        begun.set()
        assert release.wait(HANG_S)
        return normalise(text)

    monkeypatch.setattr("app.serving.preparation.normalise", held)
    monkeypatch.setattr("app.serving.offload.usable_cores", lambda: 1)
    async with serving() as bench:
        with pytest.raises(DeadlineExceeded):
            await bench.labels(*(f"{'word ' * 900}{number}" for number in range(50)), timeout_ms=100)
        assert begun.wait(HANG_S)
        release.set()
        await async_until(lambda: bench.service._preparation.offload.texts("").texts == 0)
        assert len(normalised) == 2  # one part


async def test_characters_are_counted_after_normalisation_too() -> None:
    async with serving() as bench:
        with pytest.raises(TextTooLong, match="more than 5000 characters") as caught:
            await bench.labels("a", "\ufdfa" * 1000)  # eighteen characters each, once normalised
        assert caught.value.loc == (1,)


async def test_a_text_that_fails_fails_only_its_request_and_is_not_cached() -> None:
    async with serving() as bench:
        bench.failing = {2}
        results = await asyncio.gather(
            bench.labels("x", "a b", "y"), bench.labels("one two three"), return_exceptions=True
        )
        assert isinstance(results[0], BackendError)
        assert results[1] == ["3"]
        bench.failing = set()
        assert await bench.labels("a b") == ["2"]
        assert bench.metrics.registry.get_sample_value("sentiment_backend_errors_total", OF_MODEL) == 1
        gc.collect()  # an exception that was never retrieved would warn here


async def test_long_lists_are_prepared_in_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: set[str] = set()
    encode_many = Tokenizer.encode_many

    def spy(self: Tokenizer, texts: Sequence[str], *, here: bool) -> list[Encoding]:
        threads.add(threading.current_thread().name)
        return encode_many(self, texts, here=here)

    monkeypatch.setattr(Tokenizer, "encode_many", spy)
    async with serving() as bench:
        texts = [f"{'word ' * (index % 7)}{index}" for index in range(200)]
        labels = await bench.labels(*texts, "x" * 3000)
        assert labels == [*(str(index % 7 + 1) for index in range(200)), "1"]
    assert threads
    assert threading.main_thread().name not in threads


async def test_texts_being_tokenised_count_towards_admission(monkeypatch: pytest.MonkeyPatch) -> None:
    hold = threading.Event()
    encode_many = Tokenizer.encode_many

    def held(self: Tokenizer, texts: Sequence[str], *, here: bool) -> list[Encoding]:
        assert hold.wait(HANG_S)
        return encode_many(self, texts, here=here)

    monkeypatch.setattr(Tokenizer, "encode_many", held)
    async with serving(max_queue_texts=4) as bench:
        first = asyncio.create_task(bench.labels(*(f"{'x' * 1000}{n}" for n in range(3)), timeout_ms=2000))
        await async_until(lambda: bench.service._preparation.offload.texts("").texts == 3)
        others = [f"{'y' * 2000}{n}" for n in range(2)]
        with pytest.raises(Overloaded):
            await bench.labels(*others)
        with pytest.raises(DeadlineExceeded):
            await first
        with pytest.raises(Overloaded):  # its thread still works
            await bench.labels(*others)
        hold.set()
        await async_until(lambda: bench.service._preparation.offload.texts("").texts == 0)
        assert await bench.labels(*others) == ["1", "1"]
