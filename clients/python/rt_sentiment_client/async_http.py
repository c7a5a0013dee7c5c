"""The I/O of `AsyncClient`."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable
from typing import TypeVar

import anyio
import httpx

from .connection import INFO_TIMEOUT_S, Connection, request_id_of, translate
from .errors import DeadlineExceeded, SentimentError
from .forms import Form
from .lists import TextList, form_async
from .many import ManyOptions, Result, deliver, in_each_place, should_split
from .messages import Answer, Message, check, info_message, list_message, read_info, read_predictions
from .retry import Deadline, Recovery
from .transfers import Transfer
from .types import Limits

T = TypeVar("T")


class AsyncHTTP:
    """Sends requests in an event loop."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._http = httpx.AsyncClient(**connection.httpx_options())
        self._limits: Limits | None = None

    async def close(self) -> None:
        await self._http.aclose()

    async def send(self, message: Message, deadline: Deadline) -> Answer:
        """Send a request until it succeeds or cannot succeed."""
        policy = self._connection.policy
        attempt = 0
        while True:
            attempt += 1
            try:
                return await self._attempt(message, policy.attempt_s(deadline, message.request_id))
            except SentimentError as error:
                error.attempts = attempt
                wait_s = policy.wait_s(
                    error,
                    attempt,
                    deadline,
                    can_be_split=message.can_be_split,
                    can_be_repeated=message.can_be_repeated,
                )
                if wait_s is None:
                    raise
            await asyncio.sleep(wait_s)

    async def _attempt(self, message: Message, timeout_s: float) -> Answer:
        try:
            with anyio.fail_after(timeout_s):
                async with self._http.stream(**self._connection.request(message, timeout_s)) as response:
                    body = await response.aread()
        except TimeoutError:
            raise DeadlineExceeded("there was no complete response in time", request_id=message.request_id) from None
        except httpx.HTTPError as error:
            raise translate(error, message.request_id) from error
        return check(Answer(response.status_code, response.headers, body), message)

    async def upload(self, form: Form, message: Message, timeout_s: float) -> Answer:
        """Send a form until it arrives or cannot arrive. `timeout_s` is the longest time in which nothing more does."""
        recovery = Recovery(self._connection.policy, timeout_s)
        while True:
            try:
                return await self._upload(form, message, recovery)
            except SentimentError as error:
                wait_s = recovery.wait_s(error)
                if wait_s is None or not form.can_be_repeated:
                    raise
            await asyncio.sleep(wait_s)

    async def _upload(self, form: Form, message: Message, recovery: Recovery) -> Answer:
        async def pieces() -> AsyncIterator[bytes]:
            sent = 0
            read = form.pieces()
            while (piece := await anyio.to_thread.run_sync(next, read, None)) is not None:
                yield piece
                sent += len(piece)
                recovery.reached(sent)

        request = self._connection.request(message, recovery.attempt_s(message.request_id))
        try:
            response = await self._http.request(**request | {"content": pieces()})
        except httpx.HTTPError as error:
            raise translate(error, message.request_id) from error
        return check(Answer(response.status_code, response.headers, response.content), message)

    async def receive(self, transfer: Transfer[T], recovery: Recovery) -> AsyncGenerator[T, None]:
        """Yield the items of a response; send the request again until all have arrived, or cannot arrive."""
        while not transfer.is_over:
            message = transfer.begin()
            try:
                async with contextlib.aclosing(self._pieces(message, recovery)) as pieces:
                    async for data in pieces:
                        for item in transfer.receive(data):
                            yield item
                        recovery.reached(transfer.position)
                        if transfer.is_over:
                            return
                transfer.end()
            except SentimentError as error:
                wait_s = recovery.wait_s(error)
                if wait_s is None:
                    raise
                await asyncio.sleep(wait_s)

    async def _pieces(self, message: Message, recovery: Recovery) -> AsyncGenerator[bytes, None]:
        request = self._connection.request(message, recovery.attempt_s(message.request_id))
        try:
            async with self._http.stream(**request) as response:
                if response.status_code != 200:
                    check(Answer(response.status_code, response.headers, await response.aread()), message)
                async for data in response.aiter_bytes():
                    yield data
        except httpx.HTTPError as error:
            raise translate(error, message.request_id) from error

    async def predict_many(self, texts: AsyncIterable[str] | Iterable[str], many: ManyOptions) -> AsyncIterator[Result]:
        former = many.former(await self._known_limits())
        lists = form_async(texts, former)
        free = asyncio.Semaphore(many.concurrency)
        pending: deque[asyncio.Task[list[Result]]] = deque()
        reading: asyncio.Task[TextList | None] | None = None
        has_ended = False
        try:
            while True:
                if not has_ended and reading is None and len(pending) < many.lookahead:
                    reading = asyncio.create_task(_next(lists))
                awaited = [task for task in (reading, pending[0] if pending else None) if task]
                if not awaited:
                    break
                # Results are delivered also while the iterable is slow to give its next text.
                await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
                if reading and reading.done():
                    formed, reading = reading.result(), None
                    if formed:
                        pending.append(asyncio.create_task(self._predict_list(formed, many, free)))
                    has_ended = formed is None
                if pending and pending[0].done():
                    for result in deliver(pending.popleft().result(), many.on_error):
                        yield result
            if former.failure:
                raise former.failure
        finally:
            tasks = [*pending, *([reading] if reading else [])]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _predict_list(self, texts: TextList, many: ManyOptions, free: asyncio.Semaphore) -> list[Result]:
        async with free:
            return await self._predict_part(texts, many, Deadline(many.timeout_s))

    async def _predict_part(self, texts: TextList, many: ManyOptions, deadline: Deadline) -> list[Result]:
        message = list_message(texts, many.options, many.request_id_of(texts))
        try:
            return read_predictions(await self.send(message, deadline), message, texts)
        except SentimentError as error:
            if not should_split(texts, error, deadline):
                return in_each_place(texts, error)
        first, second = texts.halves()
        return [*await self._predict_part(first, many, deadline), *await self._predict_part(second, many, deadline)]

    async def _known_limits(self) -> Limits | None:
        """Return the server's limits; None if it does not say them now."""
        if self._limits is None:
            message = info_message(request_id_of(None))
            with contextlib.suppress(SentimentError):
                self._limits = read_info(await self._attempt(message, INFO_TIMEOUT_S), message).limits
        return self._limits


async def _next(lists: AsyncIterator[TextList]) -> TextList | None:
    return await anext(lists, None)
