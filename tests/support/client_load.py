"""Load from the Python client, and what becomes of its texts."""

import asyncio
import contextlib
import random
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from itertools import count
from typing import Any

from rt_sentiment_client import AsyncClient, Client, Prediction, SentimentError

from tests.support.waiting import HANG_S

_PATIENT: dict[str, Any] = {"timeout_s": HANG_S, "attempt_timeout_s": HANG_S}
_OPTIONS: dict[str, Any] = {"on_error": "return", "list_size": 8, "concurrency": 4}
WORDS = {"good": "positive", "bad": "negative", "day": "neutral"}


class Texts:
    """Texts without an end, whose labels are in a random order, so that a result in the wrong place is noticed."""

    def __init__(self) -> None:
        self._labels: list[str] = []
        self._finished = threading.Event()
        self.outcomes: Counter[str] = Counter()

    def finish(self) -> None:
        self._finished.set()

    def __iter__(self) -> Iterator[str]:
        for number in count():
            if self._finished.is_set():
                return
            word = random.choice([*WORDS])
            self._labels.append(WORDS[word])
            yield f"a {word} {number} {id(self)}"

    def check(self, result: Prediction | SentimentError) -> None:
        """Compare a result with the label of its place."""
        expected = self._labels[self.outcomes.total()]
        if isinstance(result, SentimentError):
            self.outcomes[f"{type(result).__name__} {result.status}"] += 1
        else:
            self.outcomes["right" if result.label == expected else "wrong"] += 1

    def all_answered(self) -> bool:
        return self.outcomes.total() == len(self._labels)


async def load(addresses: list[str], during: Callable[[list[Texts]], Any]) -> list[Texts]:
    """Send texts to each address in all ways until `during`, which runs in a thread, has ended.

    Returns the texts of each way, with their outcomes. `during` gets them, too.
    """
    loads: list[Texts] = []
    async with contextlib.AsyncExitStack() as stack:
        work: list[Coroutine[Any, Any, None]] = []
        for address in addresses:
            client = await stack.enter_async_context(AsyncClient(address, **_PATIENT))
            blocking = stack.enter_context(Client(address, **_PATIENT))
            many, many_in_thread, one_by_one, streamed = texts = [Texts(), Texts(), Texts(), Texts()]
            loads += texts
            work += [
                _predict_many(client, many),
                asyncio.to_thread(_predict_many_in_thread, blocking, many_in_thread),
                _predict(client, one_by_one),
                _stream(client, streamed),
            ]
        tasks = [asyncio.create_task(coroutine) for coroutine in work]
        try:
            await asyncio.to_thread(during, loads)
        finally:
            for texts_of_one in loads:
                texts_of_one.finish()
            await asyncio.gather(*tasks)
    return loads


async def _predict_many(client: AsyncClient, texts: Texts) -> None:
    async for result in client.predict_many(texts, **_OPTIONS):
        texts.check(result)


def _predict_many_in_thread(client: Client, texts: Texts) -> None:
    for result in client.predict_many(texts, **_OPTIONS):
        texts.check(result)


async def _stream(client: AsyncClient, texts: Texts) -> None:
    async for result in client.stream(texts, on_error="return"):
        texts.check(result)


async def _predict(client: AsyncClient, texts: Texts) -> None:
    for text in texts:
        try:
            texts.check(await client.predict(text))
        except SentimentError as error:
            texts.check(error)
