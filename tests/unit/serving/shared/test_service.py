"""A service with a shared cache: asked before the model, for what this process does not know."""

import asyncio
import logging
from collections.abc import Sequence

import pytest

from app.errors import BackendError, TextTooLong
from app.inference import load_model
from app.serving import Query
from app.types import Answer
from tests.support.bench import Bench, serving
from tests.support.serving import engine_of, service_of
from tests.support.shared_cache import Replica, replica
from tests.support.waiting import HANG_S, async_until

LONG_MS = 3000 * HANG_S  # more than the time-out of the shared cache


async def ask(bench: Bench, *texts: str, **options: object) -> Answer:
    return await bench.predict(*texts, timeout_ms=LONG_MS, **options)


def flat(runs: Sequence[Sequence[int]]) -> list[int]:
    return [tokens for run in runs for tokens in run]


async def written(one: Replica, predictions: int) -> None:
    await async_until(lambda: one.writes("written") == predictions)


async def test_a_text_that_another_replica_knows_is_a_hit() -> None:
    async with (
        replica() as one,
        replica(one.store) as two,
        serving(shared=one.predictions()) as first,
        serving(shared=two.predictions()) as second,
    ):
        computed = await ask(first, "a b", "a")
        await written(one, 2)
        answer = await ask(second, "a b", "a")
        assert answer.results == computed.results
        assert (computed.cache, answer.cache) == ("miss", "hit")
        assert second.runs == []
        assert (second.count("hit"), two.lookups("hit"), two.lookups("miss")) == (2, 2, 0)
        assert (await ask(second, "a b")).cache == "hit"
        assert two.lookups("hit") == 2  # from then on, this process has it


async def test_only_what_is_missing_runs() -> None:
    async with replica() as one, serving(shared=one.predictions()) as first:
        await ask(first, "a b")
        await written(one, 1)
        async with serving(shared=one.predictions(), entries=0) as second:
            answer = await ask(second, "a", "a b", "a b c", "a b")
            assert [result.label for result in answer.predictions] == ["1", "2", "3", "2"]
            assert (answer.cache, sorted(flat(second.runs))) == ("miss", [1, 3])
            assert (one.lookups("hit"), one.lookups("miss")) == (1, 3)


async def test_without_a_cache_of_its_own_a_process_uses_the_shared_one() -> None:
    async with replica() as one, serving(shared=one.predictions(), entries=0) as bench:
        await ask(bench, "a b")
        await written(one, 1)
        assert [(await ask(bench, "a b")).cache for _ in range(2)] == ["hit", "hit"]
        assert bench.runs == [[2]]


async def test_equal_texts_that_arrive_together_run_once() -> None:
    async with replica() as one, serving(shared=one.predictions(), is_open=False) as bench:
        one.store.is_open.clear()
        requests = [asyncio.create_task(ask(bench, "a b", "c")) for _ in range(4)]
        await async_until(lambda: one.store.reads)
        one.store.is_open.set()
        await async_until(lambda: bench.count("joined") == 6)
        bench.open.set()
        answers = await asyncio.gather(*requests)
        assert sorted(answer.cache for answer in answers) == ["joined", "joined", "joined", "miss"]
        assert {tuple(result.label for result in answer.predictions) for answer in answers} == {("2", "1")}
        assert flat(bench.runs) in ([1, 2], [2, 1])


@pytest.mark.parametrize("entries", [0, 100])
async def test_a_computation_that_ends_during_the_lookup_is_not_lost(entries: int) -> None:
    async with replica() as one, serving(shared=one.predictions(), is_open=False, entries=entries) as bench:
        running = asyncio.create_task(ask(bench, "a b"))
        await async_until(lambda: bench.runs)
        one.store.is_open.clear()
        asked = asyncio.create_task(ask(bench, "a b", "c"))
        await async_until(lambda: len(one.store.reads) == 2)
        assert one.store.reads == [1, 1]  # not for what runs here
        bench.open.set()
        await running
        one.store.is_open.set()
        assert [result.label for result in (await asked).predictions] == ["2", "1"]


@pytest.mark.parametrize("long_text", ["truncate", "window"])
async def test_a_long_text_is_shared_as_it_was_read(long_text: str) -> None:
    text = " ".join("a" * 20)
    async with replica() as one:
        async with serving(shared=one.predictions()) as first:
            computed = await ask(first, text, "a", long_text=long_text)
            await written(one, len(flat(first.runs)))
        async with serving(shared=one.predictions()) as second:
            answer = await ask(second, text, "a", long_text=long_text)
            assert (answer.cache, second.runs) == ("hit", [])
            assert answer.results == computed.results
            other = "window" if long_text == "truncate" else "truncate"
            assert (await ask(second, text, long_text=other)).cache == "miss"
            with pytest.raises(TextTooLong):
                await ask(second, text, truncate=False)


async def test_texts_that_fail_are_not_shared() -> None:
    async with replica() as one, serving(shared=one.predictions()) as bench:
        bench.failing = {2}
        answer = await ask(bench, "a b", "c", "", "x" * 6000, partial=True)
        assert isinstance(answer.results[0], BackendError)
        await written(one, 1)
        assert len(one.store.values) == 1


async def test_another_model_never_matches() -> None:
    async with (
        replica() as one,
        serving(shared=one.predictions(b"one")) as first,
        serving(shared=one.predictions(b"two")) as second,
    ):
        await ask(first, "a b")
        await written(one, 1)
        assert (await ask(second, "a b")).cache == "miss"
        await written(one, 2)
        assert len(one.store.values) == 2


async def test_callers_share_nothing_with_a_cache_per_caller() -> None:
    async with replica() as one:
        outcomes = []
        for caller, values in (("one", 1), ("two", 2), ("one", 2)):  # each time another replica
            async with serving(shared=one.predictions(), cache_per_caller=True) as bench:
                outcomes.append((await ask(bench, "a b", caller=caller)).cache)
                await written(one, values)
        assert outcomes == ["miss", "miss", "hit"]


async def test_a_line_of_a_stream_does_not_wait_but_is_shared() -> None:
    async with replica() as one, serving(shared=one.predictions()) as bench:
        await ask(bench, "a b", uses_shared_cache=False)
        assert one.store.reads == []
        await written(one, 1)


async def test_the_time_of_the_lookup_is_not_that_of_the_tokenizer() -> None:
    async with replica(timeout_s=0.05) as one, serving(shared=one.predictions()) as bench:
        one.store.is_open.clear()
        assert (await ask(bench, "a b")).tokenize_ms < 50


async def test_a_failing_store_changes_no_answer() -> None:
    async with replica() as one, serving(shared=one.predictions()) as bench:
        one.store.is_failing = True
        assert await bench.labels("a b", "c", timeout_ms=LONG_MS) == ["2", "1"]
        assert await bench.labels("a b c", timeout_ms=LONG_MS) == ["3"]


async def test_values_of_others_change_no_answer() -> None:
    async with replica() as one, serving(shared=one.predictions(), entries=0) as bench:
        await ask(bench, "a b")
        await written(one, 1)
        one.store.values = dict.fromkeys(one.store.values, b"something else")
        assert await bench.labels("a b", timeout_ms=LONG_MS) == ["2"]
        assert one.lookups("miss") == 2


async def test_a_loaded_model_shares_its_predictions() -> None:
    async with replica() as one:
        outcomes = []
        for _ in range(2):
            engine = engine_of(shared=one.cache)
            service = service_of(load_model(backend="mock"), engine)
            outcomes.append((await service.predict(Query(["it is good"], LONG_MS))).cache)
            await written(one, 1)
            engine.close()
        assert outcomes == ["miss", "hit"]


class OwnBackend:
    """A backend of whose model nothing is known."""

    name, device, precision, slots, skips_padding = "own", "cpu", "fp32", 1, False

    def __init__(self, artifact: object, **_options: object) -> None:
        pass

    def run(self, batch: Sequence[object]) -> object:
        import numpy as np

        return np.zeros((len(batch), 3), np.float32)


async def test_a_model_that_is_not_known_shares_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async with replica() as one:
        engine = engine_of(shared=one.cache)
        with caplog.at_level(logging.WARNING, "sentiment"):
            service = service_of(load_model(backend=f"{__name__}:OwnBackend"), engine)
        assert "shared cache not in use" in [record.getMessage() for record in caplog.records]
        await service.predict(Query(["it is good"], LONG_MS))
        engine.close()
        assert one.store.reads == []
