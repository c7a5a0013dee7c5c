"""`Client` and `AsyncClient` with one interface, so that a test runs with each of them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any, Protocol

import pytest
from rt_sentiment_client import AsyncClient, Client, ExplainedPrediction, Info, Prediction, SentimentError, ServedModel


class AnyClient(Protocol):
    """The methods of both clients; `predict_many` and `stream` return lists."""

    async def predict(self, text: str, **options: Any) -> Prediction: ...
    async def info(self, **options: Any) -> Info: ...
    async def models(self, **options: Any) -> tuple[ServedModel, ...]: ...
    async def feedback(self, request_id: str, label: str, index: int = 0, **options: Any) -> None: ...
    async def explain(self, text: str, **options: Any) -> ExplainedPrediction: ...
    async def predict_many(self, texts: Iterable[str], **options: Any) -> list[Prediction | SentimentError]: ...
    async def stream(self, texts: Iterable[str], **options: Any) -> list[Prediction | SentimentError]: ...


class JobsInThreads:
    """`Client.jobs`, whose calls run in threads. What is iterated over becomes a list."""

    def __init__(self, jobs: Any) -> None:
        self.jobs = jobs

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            result = getattr(self.jobs, name)(*args, **options)
            return list(result) if isinstance(result, Iterator) else result

        return lambda *args, **options: asyncio.to_thread(call, *args, **options)


class JobsInTheLoop:
    """`AsyncClient.jobs`. What is iterated over becomes a list."""

    def __init__(self, jobs: Any) -> None:
        self.jobs = jobs

    def __getattr__(self, name: str) -> Callable[..., Any]:
        async def call(*args: Any, **options: Any) -> Any:
            result = getattr(self.jobs, name)(*args, **options)
            return [item async for item in result] if isinstance(result, AsyncIterator) else await result

        return call


class InThreads:
    """A `Client` whose calls run in threads."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.client = Client(*args, **options)
        self.jobs = JobsInThreads(self.client.jobs)

    async def __aenter__(self) -> "InThreads":
        return self

    async def __aexit__(self, *error: object) -> None:
        self.client.close()

    def __repr__(self) -> str:
        return repr(self.client)

    async def predict(self, text: str, **options: Any) -> Prediction:
        return await asyncio.to_thread(self.client.predict, text, **options)

    async def feedback(self, request_id: str, label: str, index: int = 0, **options: Any) -> None:
        await asyncio.to_thread(self.client.feedback, request_id, label, index, **options)

    async def info(self, **options: Any) -> Info:
        return await asyncio.to_thread(self.client.info, **options)

    async def models(self, **options: Any) -> tuple[ServedModel, ...]:
        return await asyncio.to_thread(self.client.models, **options)

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
        self.jobs = JobsInTheLoop(self.client.jobs)

    async def __aenter__(self) -> "InTheLoop":
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.client.aclose()

    def __repr__(self) -> str:
        return repr(self.client)

    async def predict(self, text: str, **options: Any) -> Prediction:
        return await self.client.predict(text, **options)

    async def feedback(self, request_id: str, label: str, index: int = 0, **options: Any) -> None:
        await self.client.feedback(request_id, label, index, **options)

    async def info(self, **options: Any) -> Info:
        return await self.client.info(**options)

    async def models(self, **options: Any) -> tuple[ServedModel, ...]:
        return await self.client.models(**options)

    async def predict_many(self, texts: Iterable[str], **options: Any) -> list[Prediction | SentimentError]:
        return [result async for result in self.client.predict_many(texts, **options)]

    async def explain(self, text: str, **options: Any) -> ExplainedPrediction:
        return await self.client.explain(text, **options)

    async def stream(self, texts: Iterable[str], **options: Any) -> list[Prediction | SentimentError]:
        return [result async for result in self.client.stream(texts, **options)]


EITHER = pytest.mark.parametrize("connect", [InThreads, InTheLoop], ids=["Client", "AsyncClient"])
Connect = Callable[..., Any]
