"""Shadows: versions that score the texts of callers when nothing else runs. Their answers are compared, never sent."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import TypeGuard

from ..errors import SentimentError
from ..types import Prediction, Text
from .version import Version

_CALLER = "(shadow)"
_TIMEOUT_S = 10.0
_MOST_TEXTS = 16  # of a request


class Shadows:
    """Lets shadows score what callers asked, one request at a time and only while a slot is to spare."""

    def __init__(self, has_room: Callable[[], bool]) -> None:
        self._has_room = has_room
        self._running: asyncio.Task[None] | None = None

    def offer(
        self, versions: Sequence[Version], texts: Sequence[Text], results: Sequence[Prediction | SentimentError]
    ) -> None:
        """Compare the answers to a request with those of shadows, if there is room."""
        pairs = [(text, each) for text, each in zip(texts, results, strict=True) if _is_comparable(each)]
        if not pairs:
            return
        if (self._running and not self._running.done()) or not self._has_room():
            for version in versions:
                if version.statistics:
                    version.statistics.metrics.shadowed("skipped")
            return
        self._running = asyncio.create_task(_compare(versions, pairs[:_MOST_TEXTS]))


def _is_comparable(result: Prediction | SentimentError) -> TypeGuard[Prediction]:
    return isinstance(result, Prediction) and not result.shallow


async def _compare(versions: Sequence[Version], pairs: Sequence[tuple[Text, Prediction]]) -> None:
    texts = [text for text, _ in pairs]
    for version in versions:
        statistics = version.statistics
        if statistics is None or version.service is None:
            continue
        started_s = time.perf_counter()
        with version.held() as service:
            answers = await service.recompute(texts, _CALLER, _TIMEOUT_S)
        seconds = time.perf_counter() - started_s
        statistics.scored(seconds, [shadow for shadow in answers if isinstance(shadow, Prediction)])
        for (_, answer), shadow in zip(pairs, answers, strict=True):
            if isinstance(shadow, Prediction):
                agrees, difference = statistics.agreement.add(answer, shadow)
                statistics.metrics.shadowed("agree" if agrees else "differ", difference)
            else:
                statistics.metrics.shadowed("failed")
