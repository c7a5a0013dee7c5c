"""Explanations by a service: what their variants count as."""

import asyncio
import threading
import time
from collections.abc import Callable

import pytest

from app.errors import Overloaded
from app.serving import Answer, Query
from app.serving.explain import Explainer
from tests.support.bench import Bench, serving
from tests.support.waiting import HANG_S, async_until

LONG = "very " * 100 + "good"


def total(bench: Bench, name: str) -> float:
    """Return the sum of the samples of a series over its labels."""
    samples = [sample for family in bench.metrics.registry.collect() for sample in family.samples]
    return sum(sample.value for sample in samples if sample.name == name)


async def explain(bench: Bench, *texts: str, caller: str = "") -> Answer:
    query = Query(texts, timeout_ms=HANG_S * 1000, caller=caller)
    answer = await bench.service.predict(query)
    return await bench.service.explain(query, answer, time.monotonic() + HANG_S)


async def test_variants_do_not_count_as_predictions() -> None:
    async with serving() as bench:
        (explanation,) = (await explain(bench, "a good day")).explanations
        assert explanation is not None
        assert len(explanation) == 3
        for name in ("predictions_total", "confidence_count", "cache_total"):
            assert total(bench, f"sentiment_{name}") == 1, name
        tokenized = bench.metrics.registry.get_sample_value("sentiment_stage_seconds_count", {"stage": "tokenize"})
        assert tokenized == 1
        assert total(bench, "sentiment_explanation_variants_total") == 7  # each set of words but all of them
        assert sum(map(len, bench.runs)) > 1  # they have run, and count as such
        assert total(bench, "sentiment_batch_texts_sum") == sum(map(len, bench.runs))


async def test_a_variant_on_which_the_model_fails_counts_as_an_error() -> None:
    async with serving() as bench:
        answer = await bench.service.predict(query := Query(["a b c d"], timeout_ms=HANG_S * 1000, partial=True))
        bench.failing = {2}
        explained = await bench.service.explain(query, answer, time.monotonic() + HANG_S)
        assert explained.explanations == [None]
        assert total(bench, "sentiment_backend_errors_total") > 0


@pytest.fixture
def hold(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Holds the threads that prepare variants, until it is called."""
    release = threading.Event()
    next_variants = Explainer.next_variants

    def held(self: Explainer) -> list[str]:
        assert release.wait(HANG_S)
        return next_variants(self)

    monkeypatch.setattr(Explainer, "next_variants", held)
    return release.set


async def test_preparing_variants_is_charged_as_that_many_texts(hold: Callable[[], None]) -> None:
    async with serving() as bench:
        running = asyncio.create_task(explain(bench, LONG, caller="a"))
        await async_until(lambda: bench.service._preparation.offload.texts("a").own == 32)
        hold()
        await running
        assert bench.service._preparation.offload.texts("a").own == 0


async def test_variants_that_the_queue_cannot_take_are_not_prepared(hold: Callable[[], None]) -> None:
    async with serving(max_queue_texts=31) as bench:
        with pytest.raises(Overloaded):  # held threads would never end
            await explain(bench, LONG)
        hold()
