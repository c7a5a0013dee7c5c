"""Loaded models become services that share slots, queue and cache, but never a batch or a prediction."""

import threading
from collections.abc import Sequence
from unittest.mock import patch

import pytest
from prometheus_client import CollectorRegistry

from app.inference import load_model
from app.metrics import Metrics
from app.serving import Query
from app.serving.engine import relative_cost
from app.types import Encoding
from tests.support.serving import engine_of, service_of
from tests.support.waiting import HANG_S

LONG_MS = HANG_S * 1000


@pytest.mark.parametrize(
    ("device", "limits", "largest"),
    [("cpu", {}, 16), ("cuda", {}, 128), ("cuda", {"max_batch_size": 20}, 20), ("cuda", {"max_batch_tokens": 12}, 12)],
)
async def test_the_largest_batch_fits_the_device(device: str, limits: dict[str, int], largest: int) -> None:
    model = load_model(backend="mock", slots=1)
    model.backend.device = device
    metrics = Metrics(CollectorRegistry())
    with patch.object(metrics, "batch_finished", wraps=metrics.batch_finished) as finished:
        engine = engine_of(metrics, **limits)
        await service_of(model, engine).predict(Query([f"number{number}" for number in range(200)], LONG_MS))
        engine.close()
    assert max(call.args[0] for call in finished.call_args_list) == largest


@pytest.mark.parametrize("skips_padding", [True, False])
async def test_a_lane_mixes_lengths_if_padding_is_skipped(skips_padding: bool) -> None:
    model = load_model(backend="mock")
    model.backend.skips_padding = skips_padding
    assert service_of(model, engine_of())._lane.skips_padding == skips_padding


async def test_two_models_answer_with_their_own_labels_from_one_cache() -> None:
    engine = engine_of()
    models = [load_model(backend="mock", slots=1) for _ in range(2)]
    models[1].runner._scores.labels = ("one", "two", "three")
    object.__setattr__(models[1].info, "labels", models[1].runner._scores.labels)
    services = [service_of(model, engine) for model in models]
    for outcome in ("miss", "hit"):
        answers = [await service.predict(Query(["good"], LONG_MS)) for service in services]
        assert [answer.predictions[0].label for answer in answers] == ["positive", "three"]
        assert [answer.cache for answer in answers] == [outcome, outcome]
    engine.close()


async def test_predictions_of_a_model_that_proved_wrong_are_not_used_again() -> None:
    engine = engine_of()
    for outcome in ("miss", "miss", "miss"):
        service = service_of(load_model(backend="mock"), engine)
        assert (await service.predict(Query(["good"], LONG_MS))).cache == outcome
        engine.distrust(service)
        engine.retire(service)
    engine.close()


async def test_equal_models_share_predictions() -> None:
    engine = engine_of()
    services = [service_of(load_model(backend="mock"), engine) for _ in range(2)]
    answers = [await service.predict(Query(["good"], LONG_MS)) for service in services]
    assert [answer.cache for answer in answers] == ["miss", "hit"]
    engine.close()


async def test_models_share_slots_and_never_a_batch() -> None:
    engine = engine_of()
    models = [load_model(backend="mock", slots=1) for _ in range(2)]
    models[1].runner._scores.labels = ("one", "two", "three")
    object.__setattr__(models[1].info, "labels", models[1].runner._scores.labels)
    running, most = set[int](), []
    batches: list[tuple[int, int]] = []
    lock = threading.Lock()

    def run_of(number: int):  # type: ignore[no-untyped-def]
        def run(payloads: Sequence[Encoding], *, alone: bool = False) -> Sequence[object]:
            with lock:
                running.add(number)
                most.append(len(running))
                batches.append((number, len(payloads)))
            try:
                return models[number].runner.run(payloads, alone=alone)
            finally:
                with lock:
                    running.discard(number)

        return run

    observer = Metrics(CollectorRegistry()).model_loaded(models[0].info, 1)
    services = [engine.serve(engine.prepare(model), run_of(number), observer) for number, model in enumerate(models)]
    import asyncio

    texts = [f"good {number}" for number in range(40)]
    answers = await asyncio.gather(*(service.predict(Query(texts, LONG_MS)) for service in services))
    assert [{answer.predictions[0].label for answer in answers[side : side + 1]} for side in (0, 1)] == [
        {"positive"},
        {"three"},
    ]
    assert max(most) == 1  # there is one slot
    assert [sum(size for number, size in batches if number == side) for side in (0, 1)] == [40, 40]
    engine.close()


def test_a_model_that_takes_longer_costs_more() -> None:
    fast = load_model(backend="mock", slots=1)
    slow = load_model(backend="mock", slots=1, mock_delay_ms=20)
    assert relative_cost(slow, fast) > 3
    assert relative_cost(fast, slow) < 1 / 3
