"""Texts with more tokens than the model reads, scored in windows by a service with the embedded model."""

from collections.abc import AsyncIterator

import pytest
from prometheus_client import CollectorRegistry

from app.inference.model import Model
from app.metrics import Metrics
from app.scheduling import CostModel, Lane, Scheduler, SchedulerLimits
from app.serving import Query, Service
from app.serving.cache import Cache
from app.serving.offload import Offload
from app.types import LongText, Payload, Prediction
from tests.support.texts import BLAME, PRAISE


@pytest.fixture
async def service(embedded: Model) -> AsyncIterator[Service]:
    metrics = Metrics(CollectorRegistry())
    scheduler: Scheduler[Payload, Prediction] = Scheduler(
        slots=2,
        limits=SchedulerLimits(),
        cost=CostModel(),
        observer=metrics,
        on_stall=lambda: None,
    )
    lane = Lane(embedded.runner.run)
    yield Service(
        embedded.tokenizer,
        scheduler,
        lane,
        Cache(100),
        offload=Offload(),
        observer=metrics.model_loaded(embedded.info, slots=2),
        model="m@1",
        max_text_chars=20_000,
    )
    scheduler.close()


async def predict(service: Service, text: str, long_text: LongText) -> Prediction:
    (prediction,) = (await service.predict(Query([text], 20_000, long_text=long_text))).predictions
    return prediction


async def test_an_opinion_after_the_first_window_can_decide_the_label(service: Service) -> None:
    text = PRAISE * 45 + BLAME * 130
    truncated = await predict(service, text, "truncate")
    windowed = await predict(service, text, "window")
    assert (truncated.label, truncated.truncated) == ("positive", True)
    assert (windowed.label, windowed.truncated) == ("negative", False)


async def test_the_scores_are_the_average_of_the_scores_of_each_window(service: Service, embedded: Model) -> None:
    text = PRAISE * 45 + BLAME * 60
    prediction = await predict(service, text, "window")
    (windows,) = embedded.tokenizer.encode_windows([text])
    assert len(windows) > 2
    expected = dict.fromkeys(embedded.artifact.labels, 0.0)
    for window in windows:
        (alone,) = embedded.runner.run([window])
        assert isinstance(alone, Prediction)
        for label, score in alone.scores.items():
            expected[label] += score * len(window) / sum(map(len, windows))
    assert prediction.scores == pytest.approx(expected, abs=1e-6)
    assert sum(prediction.scores.values()) == pytest.approx(1, abs=1e-6)
