"""Shadows see texts only while nothing else runs, and their answers are only compared."""

import asyncio
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest

from app.errors import BackendError
from app.serving import Version
from app.serving.shadow import Shadows
from app.serving.statistics import Statistics
from app.types import Prediction
from tests.support.serving import spec_of


def prediction(label: str) -> Prediction:
    return Prediction(label, 0.9, {"bad": 0.1, "good": 0.9} if label == "good" else {"bad": 0.9, "good": 0.1})


def shadow(*answers: object) -> Version:
    version = Version(spec_of("shadow", 0, shadow=True), state="ready")
    version.service = Mock(recompute=AsyncMock(side_effect=[[*answers]] * 9))
    version.statistics = Statistics(("bad", "good"), Mock())
    return version


def outcomes(version: Version) -> list[str]:
    assert version.statistics
    metrics: Any = version.statistics.metrics
    return [call.args[0] for call in metrics.shadowed.call_args_list]


async def offer(shadows: Shadows, version: Version, texts: list[str], results: list[Any]) -> None:
    shadows.offer([version], texts, results)
    if shadows._running:
        await shadows._running


async def test_answers_are_compared_and_counted() -> None:
    version = shadow(prediction("good"), prediction("bad"), BackendError("no"))
    await offer(Shadows(lambda: True), version, ["a", "b", "c"], [prediction("good")] * 3)
    assert outcomes(version) == ["agree", "differ", "failed"]
    assert version.statistics
    assert (version.statistics.agreement.texts, version.statistics.agreement.agreeing) == (2, 1)
    assert version.statistics.predictions == {"bad": 1, "good": 1}
    assert version.statistics.requests == 1
    assert version.in_flight == 0


async def test_texts_without_an_answer_are_not_compared() -> None:
    version = shadow(prediction("good"))
    await offer(Shadows(lambda: True), version, ["a", "b"], [BackendError("no"), prediction("good")])
    assert version.service
    assert version.service.recompute.call_args.args[0] == ["b"]  # type: ignore[attr-defined]


async def test_a_request_without_any_answer_is_not_counted() -> None:
    version = shadow()
    shadows = Shadows(lambda: True)
    await offer(shadows, version, ["a"], [BackendError("no")])
    assert shadows._running is None
    assert version.statistics
    assert (outcomes(version), version.statistics.requests) == ([], 0)


async def test_a_shadow_sees_at_most_16_texts_of_a_request() -> None:
    version = shadow(*[prediction("good")] * 16)
    texts = [str(number) for number in range(40)]
    await offer(Shadows(lambda: True), version, texts, [prediction("good")] * 40)
    assert outcomes(version) == ["agree"] * 16


async def test_without_a_spare_slot_nothing_runs() -> None:
    version = shadow()
    gone = Version(spec_of("gone", 0, shadow=True))
    shadows = Shadows(lambda: False)
    shadows.offer([version, gone], ["a"], [prediction("good")])
    assert outcomes(version) == ["skipped"]
    assert shadows._running is None


async def test_one_request_is_compared_at_a_time() -> None:
    version, over = shadow(), asyncio.Event()

    async def slow(*_: object) -> list[Prediction]:
        await over.wait()
        return [prediction("good")]

    version.service = Mock(recompute=slow)
    shadows = Shadows(lambda: True)
    shadows.offer([version], ["a"], [prediction("good")])
    await asyncio.sleep(0)
    assert version.in_flight == 1  # it must not be freed meanwhile
    shadows.offer([version], ["b"], [prediction("good")])
    assert outcomes(version) == ["skipped"]
    over.set()
    assert shadows._running
    await shadows._running
    assert outcomes(version) == ["skipped", "agree"]
    assert version.in_flight == 0


@pytest.mark.parametrize("part", ["service", "statistics"])
async def test_a_shadow_that_is_gone_by_then_is_left_out(part: str) -> None:
    version, other = shadow(), shadow(prediction("good"))
    setattr(version, part, None)
    shadows = Shadows(lambda: True)
    shadows.offer([version, other], ["a"], [prediction("good")])
    assert shadows._running
    await shadows._running
    assert outcomes(other) == ["agree"]
