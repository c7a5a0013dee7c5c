"""Texts that are scored anew: past the cache, a few at a time, each with an error of its own."""

import asyncio
import sys
import threading
from collections.abc import Sequence
from unittest.mock import patch

import pytest

from app.errors import BackendError, DeadlineExceeded, NotReady
from app.inference import load_model, normalise
from app.serving import Query, Service
from app.types import Batch, FloatArray, Prediction
from tests.support.serving import engine_of, service_of
from tests.support.waiting import HANG_S

LONG_MS = HANG_S * 1000
recompute = sys.modules["app.serving.recompute"]  # a function has the same name


async def labels(service: Service, texts: Sequence[str], timeout_s: float = HANG_S) -> list[str | type[Exception]]:
    results = await service.recompute(texts, "(check)", timeout_s)
    return [each.label if isinstance(each, Prediction) else type(each) for each in results]


async def test_texts_are_normalised_and_answered_in_their_order() -> None:
    engine = engine_of()
    service = service_of(load_model(backend="mock"), engine)
    assert await labels(service, ["  GOOD ", "bad", "so"]) == ["positive", "negative", "neutral"]
    assert await labels(service, []) == []
    engine.close()


async def test_texts_are_normalised_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, threads = engine_of(), set[int]()

    def noting(text: str) -> str:
        threads.add(threading.get_ident())
        return normalise(text)

    monkeypatch.setattr(recompute, "normalise", noting)
    assert await labels(service_of(load_model(backend="mock"), engine), ["good"]) == ["positive"]
    assert len(threads) == 1
    assert threading.get_ident() not in threads
    engine.close()


async def test_the_cache_is_neither_read_nor_filled() -> None:
    engine, model = engine_of(), load_model(backend="mock")
    with patch.object(model.backend, "run", wraps=model.backend.run) as run:
        service = service_of(model, engine)
        await labels(service, ["good"])
        assert (await service.predict(Query(["good"], LONG_MS))).cache == "miss"
        await labels(service, ["good"])
        assert run.call_count == 3
    engine.close()


async def test_a_text_that_fails_has_an_error_in_its_place() -> None:
    engine = engine_of()
    service = service_of(load_model(backend="mock", slots=1), engine)
    assert await labels(service, ["good", "[fail]", "bad"]) == ["positive", BackendError, "negative"]
    engine.close()


async def test_a_text_that_is_late_has_an_error_in_its_place() -> None:
    engine = engine_of()
    service = service_of(load_model(backend="mock", slots=1), engine)
    assert await labels(service, ["good", "bad"], timeout_s=0) == [DeadlineExceeded] * 2
    engine.close()
    assert await labels(service, ["good"]) == [NotReady]


async def test_at_most_four_texts_are_in_the_queue() -> None:
    engine, model = engine_of(), load_model(backend="mock", slots=1)
    service, depths = service_of(model, engine), []
    loop = asyncio.get_running_loop()
    run = model.backend.run

    def measured(batch: Batch) -> FloatArray:
        depths.append(asyncio.run_coroutine_threadsafe(depth(), loop).result())
        return run(batch)

    async def depth() -> int:
        return engine.queue_depth

    with patch.object(model.backend, "run", measured):
        assert await labels(service, [f"good {number}" for number in range(30)]) == ["positive"] * 30
    assert max(depths) <= 3  # beside the one that runs
    engine.close()


async def test_who_stops_waiting_leaves_nothing_in_the_queue() -> None:
    engine, model = engine_of(), load_model(backend="mock", slots=1)
    service = service_of(model, engine)
    begun, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()
    run = model.backend.run

    def held(batch: Batch) -> FloatArray:
        loop.call_soon_threadsafe(begun.set)
        go_on.wait(HANG_S)
        return run(batch)

    with patch.object(model.backend, "run", held):
        task = asyncio.create_task(service.recompute(["a", "b", "c"], "(check)", HANG_S))
        await begun.wait()
        assert engine.queue_depth == 2
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert engine.queue_depth == 0
        go_on.set()
    engine.close()
