"""`Client` and `AsyncClient` with one interface, so that a test runs with each of them."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import pytest
from rt_sentiment_client import AsyncClient, Client, ExplainedPrediction, Info, Prediction, SentimentError


class AnyClient(Protocol):
    """The methods of both clients; `predict_many` and `stream` return lists."""

    async def predict(self, text: str, **options: Any) -> Prediction: ...
    async def info(self, **options: Any) -> Info: ...
    async def explain(self, text: str, **options: Any) -> ExplainedPrediction: ...
    async def predict_many(self, texts: Iterable[str], **options: Any) -> list[Prediction | SentimentError]: ...
    async def stream(self, texts: Iterable[str], **options: Any) -> list[Prediction | SentimentError]: ...


class InThreads:
    """A `Client` whose calls run in threads."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.client = Client(*args, **options)

    async def __aenter__(self) -> "InThreads":
        return self

    async def __aexit__(self, *error: object) -> None:
        self.client.close()

    def __repr__(self) -> str:
        return repr(self.client)

    async def predict(self, text: str, **options: Any) -> Prediction:
        return await asyncio.to_thread(self.client.predict, text, **options)

    async def info(self, **options: Any) -> Info:
        return await asyncio.to_thread(self.client.info, **options)

    async def predict_many(self, texts: Iterable[str], **options: Any) -> list[Prediction | SentimentError]:
        return await asyncio.to_thread(lambda: list(self.client.predict_many(texts, **options)))

    async def explain(self, text: str, **options: Any) -> ExplainedPrediction:
        return await asyncio.to_thread(self.client.explain, text, **options)

    async def stream(self, texts: Iterable[str], **options: Any) -> list[Prediction | SentimentError]:
        return await asyncio.to_thread(lambda: list(self.client.stream(texts, **options)))


class InTheLoop:
    """An `AsyncClient`."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.client = AsyncClient(*args, **options)

    async def __aenter__(self) -> "InTheLoop":
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.client.aclose()

    def __repr__(self) -> str:
        return repr(self.client)

    async def predict(self, text: str, **options: Any) -> Prediction:
        return await self.client.predict(text, **options)

    async def info(self, **options: Any) -> Info:
        return await self.client.info(**options)

    async def predict_many(self, texts: Iterable[str], **options: Any) -> list[Prediction | SentimentError]:
        return [result async for result in self.client.predict_many(texts, **options)]

    async def explain(self, text: str, **options: Any) -> ExplainedPrediction:
        return await self.client.explain(text, **options)

    async def stream(self, texts: Iterable[str], **options: Any) -> list[Prediction | SentimentError]:
        return [result async for result in self.client.stream(texts, **options)]


EITHER = pytest.mark.parametrize("connect", [InThreads, InTheLoop], ids=["Client", "AsyncClient"])
Connect = Callable[..., Any]
