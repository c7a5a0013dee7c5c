import asyncio
import contextlib
import gc
import random
import threading
from collections.abc import Sequence
from unittest.mock import Mock

import pytest

from app.errors import BackendError, DeadlineExceeded, InvalidInput, NotReady, Overloaded, TextTooLong
from app.inference import Tokenizer, normalise
from app.scheduling import WorkItem
from app.serving import Query, Service
from app.types import Answer, Encoding, Prediction
from tests.support.bench import serving


async def labels(service: Service, *texts: str, timeout_ms: float = 5000) -> list[str]:
    answer = await service.predict(Query(texts, timeout_ms))
    return [prediction.label for prediction in answer.predictions]


async def test_each_text_gets_its_own_answer_in_order() -> None:
    async with serving() as bench:
        assert await labels(bench.service, "a", "a b c", "a b") == ["1", "3", "2"]


async def test_a_known_text_is_not_computed_again_however_it_is_spelled() -> None:
    async with serving() as bench:
        first = await bench.predict("a  b", timeout_ms=1000)
        second = await bench.predict(" a\tb\u200b", timeout_ms=1000)
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


async def test_a_truncated_answer_is_not_the_whole_text() -> None:
    async with serving() as bench:
        long = " ".join("abcdefghij")
        await bench.predict(long)
        assert (await bench.predict(long)).cache == "hit"
        assert (await bench.predict(long, long_text="window")).cache == "miss"
        with pytest.raises(TextTooLong):
            await bench.predict(long, truncate=False)


async def test_a_miss_is_looked_up_and_admitted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving() as bench:
        get = Mock(wraps=bench.cache.get)
        admit = Mock(wraps=bench.service._scheduler.admit)
        normalised = Mock(wraps=normalise)
        monkeypatch.setattr(bench.cache, "get", get)
        monkeypatch.setattr(bench.service._scheduler, "admit", admit)
        monkeypatch.setattr("app.serving.service.normalise", normalised)
        await bench.predict("a b")
        assert (get.call_count, admit.call_count, normalised.call_count) == (1, 1, 1)


async def test_a_text_is_refused_at_once_while_the_queue_is_too_long() -> None:
    async with serving(is_open=False, max_wait_ms=1) as bench:
        first = asyncio.create_task(labels(bench.service, "a b"))
        await asyncio.sleep(0.05)  # much longer than predicted: a new text would have to wait
        coroutine = bench.service.begin(Query(["another"], 1000))
        with pytest.raises(Overloaded):
            coroutine.send(None)
        bench.open.set()
        assert await first == ["2"]
        bench.service.close()
        with pytest.raises(NotReady):
            await bench.predict("another")


async def test_without_a_cache_every_text_is_computed() -> None:
    async with serving(entries=0) as bench:
        for _ in range(2):
            assert (await bench.predict("a", timeout_ms=1000)).cache == "miss"
        assert len(bench.runs) == 2


async def test_identical_texts_in_flight_share_one_computation() -> None:
    async with serving(is_open=False) as bench:
        asked = [asyncio.create_task(bench.predict("a b", timeout_ms=5000)) for _ in range(5)]
        await asyncio.sleep(0.05)
        bench.open.set()
        answers = await asyncio.gather(*asked)
        assert [answer.cache for answer in answers] == ["miss"] + ["joined"] * 4
        assert bench.runs == [[2]]
        assert (bench.count("miss"), bench.count("joined"), bench.count("hit")) == (1, 4, 0)


async def test_a_text_in_flight_is_waited_for_although_others_are_refused() -> None:
    async with serving(is_open=False, max_wait_ms=1) as bench:
        asked = asyncio.create_task(labels(bench.service, "a b"))
        await asyncio.sleep(0.05)  # much longer than it should take: who came now would wait
        joined = asyncio.create_task(labels(bench.service, "a b"))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await labels(bench.service, "another")
        bench.open.set()
        assert await asked == await joined == ["2"]


async def test_texts_in_flight_take_no_room_in_the_queue() -> None:
    async with serving(is_open=False, max_queue_texts=4) as bench:
        blocker = asyncio.create_task(labels(bench.service, "x"))
        await asyncio.sleep(0.05)
        first = asyncio.create_task(labels(bench.service, "a", "a b", "a b c"))
        await asyncio.sleep(0.05)
        second = asyncio.create_task(labels(bench.service, "a", "a b", "a b c", "a b c d"))
        await asyncio.sleep(0.05)
        bench.open.set()
        assert await second == [*(await first), "4"] == ["1", "2", "3", "4"]
        await blocker


async def test_a_list_computes_a_repeated_text_once() -> None:
    async with serving() as bench:
        assert await labels(bench.service, "a b", "c", "a b", "a  b") == ["2", "1", "2", "2"]
        assert sorted(length for run in bench.runs for length in run) == [1, 2]


async def test_whoever_joined_is_answered_although_the_first_caller_left() -> None:
    async with serving(is_open=False) as bench:
        blocker = asyncio.create_task(labels(bench.service, "x"))
        await asyncio.sleep(0.02)
        first = asyncio.create_task(labels(bench.service, "a b"))
        await asyncio.sleep(0.02)
        joined = asyncio.create_task(labels(bench.service, "a b"))
        await asyncio.sleep(0.02)
        first.cancel()
        await asyncio.sleep(0.02)
        bench.open.set()
        assert await joined == ["2"]
        assert await blocker == ["1"]


async def test_a_text_that_everyone_left_costs_nothing_and_can_be_asked_again() -> None:
    async with serving(is_open=False) as bench:
        blocker = asyncio.create_task(labels(bench.service, "x"))
        await asyncio.sleep(0.02)
        gone = asyncio.create_task(labels(bench.service, "a b"))
        await asyncio.sleep(0.02)
        gone.cancel()
        await asyncio.sleep(0.02)
        assert bench.service.queue_depth == 0
        bench.open.set()
        await blocker
        assert bench.runs == [[1]]
        assert await labels(bench.service, "a b") == ["2"]


async def test_the_deadline_frees_the_caller_and_the_queue() -> None:
    async with serving(is_open=False) as bench:
        blocker = asyncio.create_task(labels(bench.service, "x"))
        await asyncio.sleep(0.02)
        with pytest.raises(DeadlineExceeded):
            await labels(bench.service, "a b", timeout_ms=300)
        assert bench.service.queue_depth == 0
        bench.open.set()
        assert await blocker == ["1"]
        assert bench.runs == [[1]]


async def test_a_later_caller_with_more_time_is_not_cut_off_by_the_first_ones_deadline() -> None:
    async with serving(is_open=False) as bench:
        blocker = asyncio.create_task(labels(bench.service, "x"))
        await asyncio.sleep(0.02)
        hasty = asyncio.create_task(labels(bench.service, "a b", timeout_ms=300))
        await asyncio.sleep(0.01)
        patient = asyncio.create_task(labels(bench.service, "a b", timeout_ms=5000))
        with pytest.raises(DeadlineExceeded):
            await hasty
        bench.open.set()
        assert await patient == ["2"]
        await blocker


@pytest.mark.parametrize("blank", ["", " \n", "\u200b"])
async def test_a_blank_text_is_named_by_its_index(blank: str) -> None:
    async with serving() as bench:
        with pytest.raises(InvalidInput) as caught:
            await labels(bench.service, "a", blank, "c")
        assert caught.value.loc == (1,)
        assert bench.runs == []


async def test_a_long_text_is_cut_and_flagged_or_refused() -> None:
    async with serving() as bench:
        long = "one two three four five six seven eight nine"
        answer = await bench.predict("a", long, timeout_ms=1000)
        assert [prediction.truncated for prediction in answer.predictions] == [False, True]
        for texts in ((long,), ("new " + long,)):  # known and unknown
            with pytest.raises(TextTooLong, match="8 tokens"):
                await bench.predict(*texts, timeout_ms=1000, truncate=False)
        assert (await bench.predict("a", timeout_ms=1000, truncate=False)).cache == "hit"


async def test_a_failing_text_fails_its_request_and_no_other_and_is_not_cached() -> None:
    async with serving() as bench:
        bench.failing = {2}
        results = await asyncio.gather(
            labels(bench.service, "x", "a b", "y"),
            labels(bench.service, "one two three"),
            return_exceptions=True,
        )
        assert isinstance(results[0], BackendError)
        assert results[1] == ["3"]
        bench.failing = set()
        assert await labels(bench.service, "a b") == ["2"]
        assert bench.metrics.registry.get_sample_value("sentiment_backend_errors_total") == 1
        gc.collect()  # an exception that nobody fetched would warn here


async def test_a_refused_list_leaves_no_in_flight_behind() -> None:
    async with serving(is_open=False, max_queue_texts=2) as bench:
        blockers = [asyncio.create_task(labels(bench.service, text)) for text in ("x", "y")]
        await asyncio.sleep(0.02)
        with pytest.raises(Overloaded):
            await labels(bench.service, "a", "a b")
        bench.open.set()
        await asyncio.gather(*blockers)
        assert await labels(bench.service, "a b") == ["2"]


async def test_long_lists_are_prepared_off_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: set[str] = set()
    encode_many = Tokenizer.encode_many

    def spy(self: Tokenizer, texts: Sequence[str]) -> list[Encoding]:
        threads.add(threading.current_thread().name)
        return encode_many(self, texts)

    monkeypatch.setattr(Tokenizer, "encode_many", spy)
    async with serving() as bench:
        texts = [f"{'word ' * (index % 7)}{index}" for index in range(200)]
        answers = await labels(bench.service, *texts, "x" * 3000)
        assert answers == [*(str(index % 7 + 1) for index in range(200)), "1"]
    assert threads
    assert threading.main_thread().name not in threads


async def test_texts_being_tokenised_count_towards_admission(monkeypatch: pytest.MonkeyPatch) -> None:
    hold = threading.Event()
    encode_many = Tokenizer.encode_many

    def held(self: Tokenizer, texts: Sequence[str]) -> list[Encoding]:
        assert hold.wait(10)
        return encode_many(self, texts)

    monkeypatch.setattr(Tokenizer, "encode_many", held)
    async with serving(max_queue_texts=4) as bench:
        gone = asyncio.create_task(labels(bench.service, *(f"{'x' * 1000}{n}" for n in range(3)), timeout_ms=200))
        await asyncio.sleep(0.1)
        with pytest.raises(Overloaded):
            await labels(bench.service, *(f"{'y' * 2000}{n}" for n in range(2)))
        with pytest.raises(DeadlineExceeded):
            await gone
        with pytest.raises(Overloaded):  # its thread is at it still
            await labels(bench.service, *(f"{'y' * 2000}{n}" for n in range(2)))
        hold.set()
        await asyncio.sleep(0.1)
        assert await labels(bench.service, *(f"{'y' * 2000}{n}" for n in range(2))) == ["1", "1"]


async def test_a_character_that_stands_for_many_does_not_pass_the_limit() -> None:
    async with serving() as bench:
        with pytest.raises(TextTooLong, match="over 5000 characters") as caught:
            await labels(bench.service, "a", "\ufdfa" * 1000)  # eighteen characters each, once normalised
        assert caught.value.loc == (1,)


async def test_no_flight_stays_behind_whatever_the_deadlines() -> None:
    rng = random.Random(2)
    async with serving(entries=0) as bench:

        async def one(number: int) -> None:
            texts = [f"word {number % 5} {rng.randrange(50)}" for _ in range(20)]
            with contextlib.suppress(DeadlineExceeded, Overloaded):
                await labels(bench.service, *texts, timeout_ms=rng.choice([0.01, 0.2, 1, 3, 5000]))

        await asyncio.gather(*(one(number) for number in range(200)))
        await asyncio.sleep(0.05)
        assert bench.cache._in_flight == {}
        assert bench.service.queue_depth == 0


async def test_any_mix_of_arrivals_cancellations_and_failures_answers_each_exactly_once() -> None:
    rng = random.Random(5)
    async with serving(entries=3) as bench:
        bench.failing = {4}

        async def one(number: int) -> str:
            await asyncio.sleep(rng.random() * 0.05)
            length = rng.randint(1, 8)
            texts = [" ".join(f"w{number % 13}" for _ in range(length))]
            task = asyncio.create_task(labels(bench.service, *texts))
            if number % 5 == 0:
                await asyncio.sleep(rng.random() * 0.01)
                task.cancel()
            try:
                assert await task == [str(length)]
            except BackendError:
                assert length == 4
                return "failed"
            except asyncio.CancelledError:
                assert number % 5 == 0
                return "cancelled"
            return "answered"

        outcomes = await asyncio.gather(*(one(number) for number in range(300)))
        assert len(outcomes) == 300
        assert {"failed", "answered"} <= set(outcomes)
        assert bench.cache._in_flight == {}
        assert bench.service.queue_depth == 0
        assert bench.service.predicted_wait_ms == 0


async def test_a_text_of_a_list_without_hope_is_answered_whoever_comes_while_that_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The newcomer's own texts are begun in the moment in which the other list's are given up."""
    asked: list[asyncio.Task[list[str]]] = []
    settle = WorkItem.settle

    def settled(item: WorkItem[Encoding, Prediction], result: Prediction | Exception | None) -> None:
        settle(item, result)
        if isinstance(result, DeadlineExceeded) and not asked:
            asked.append(asyncio.ensure_future(labels(bench.service, "a b c d", "a b c d e f")))

    def hopeless(item: WorkItem[Encoding, Prediction], *_: float) -> bool:
        return item.rest_tokens > 0 and len(item._waiters) == 1

    monkeypatch.setattr(WorkItem, "settle", settled)
    monkeypatch.setattr(WorkItem, "is_hopeless", hopeless)
    async with serving(max_batch_size=1, packs=True) as bench:
        with pytest.raises(DeadlineExceeded, match="more text than the model can score"):
            await labels(bench.service, "a", "a b", "a b c", "a b c d", "a b c d e")
        assert await asked[0] == ["4", "6"]
        assert bench.service.queue_depth == 0
