"""What a shadow scores is compared and counted, but not as an answer to a caller."""

import asyncio
from typing import Any, cast
from unittest.mock import Mock

import pytest

from app.catalog import VersionSpec
from app.errors import SentimentError
from app.serving.service import Service
from app.serving.shadow import Shadows
from app.serving.statistics import Statistics
from app.serving.version import Version
from app.types import Prediction

GOOD = Prediction("good", 0.9, {"good": 0.9, "bad": 0.1})
BAD = Prediction("bad", 0.7, {"good": 0.3, "bad": 0.7})


class Scores:
    """A service that gives the same results each time."""

    def __init__(self, *results: Prediction | SentimentError) -> None:
        self.results = results
        self.texts: list[list[str]] = []

    async def recompute(self, texts: list[str], caller: str, timeout_s: float) -> list[Any]:
        self.texts.append(texts)
        return list(self.results)


def shadow(*results: Prediction | SentimentError) -> Version:
    version = Version(VersionSpec("next", "path", 0.0, shadow=True), state="ready")
    version.statistics = Statistics(("good", "bad"), Mock())
    version.service = cast(Service, Scores(*results))
    return version


@pytest.fixture
def has_room() -> Mock:
    return Mock(return_value=True)


async def finish() -> None:
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        await task


async def test_answers_are_compared_and_not_counted_as_answers(has_room: Mock) -> None:
    version = shadow(GOOD, BAD, SentimentError("no"))
    statistics = version.statistics
    assert statistics
    Shadows(has_room).offer([version], ["a", "b", "c", "d"], [GOOD, GOOD, GOOD, SentimentError("refused")])
    await finish()
    assert cast(Scores, version.service).texts == [["a", "b", "c"]]
    metrics = cast(Mock, statistics.metrics)
    assert [call.args[0] for call in metrics.shadowed.call_args_list] == ["agree", "differ", "failed"]
    assert metrics.shadowed.call_args_list[1].args[1] == pytest.approx(0.6)
    assert (statistics.agreement.texts, statistics.agreement.agreeing) == (2, 1)
    assert (statistics.requests, dict(statistics.predictions)) == (1, {"good": 1, "bad": 1})
    assert sum(statistics.confidence) == 2
    metrics.scored.assert_called_once()
    metrics.answered.assert_not_called()
    metrics.predicted.assert_not_called()


async def test_without_room_a_request_is_skipped(has_room: Mock) -> None:
    has_room.return_value = False
    version = shadow(GOOD)
    Shadows(has_room).offer([version], ["a"], [GOOD])
    await finish()
    assert version.statistics
    cast(Mock, version.statistics.metrics).shadowed.assert_called_once_with("skipped")
    assert version.statistics.requests == 0
