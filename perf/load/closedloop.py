"""Closed-loop load that keeps every response: each connection sends its next request once it has its response.

A process of its own sends, so that it takes no time from whoever watches the server meanwhile.
"""

import asyncio
import contextlib
import multiprocessing
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httptools

NOT_ANSWERED = 0  # in place of a status
_STOP_POLL_S = 0.05
_PAUSE_S = 0.05  # after a connection was refused or closed


class Response(NamedTuple):
    """What came back for one request."""

    number: int  # of the connection
    status: int
    model: str  # of the header `X-Model`; empty without one
    body: bytes


class Answer(NamedTuple):
    """A request and what is kept of its response. Times are those of `time.monotonic`, which processes share."""

    sent_s: float
    answered_s: float
    status: int
    note: str  # what `judge` says about the response


MakeRequest = Callable[[int, int], bytes]  # from the number of a connection and of its request
Judge = Callable[[Response], str]


@dataclass
class Load:
    """A load that runs; `answers` is complete once it has ended."""

    answers: list[Answer]


@contextlib.contextmanager
def offering(address: str, connections: int, make_request: MakeRequest, judge: Judge) -> Iterator[Load]:
    """Send requests over so many connections until the block ends; the answers are in the load then.

    `make_request` and `judge` are functions of a module, or parts of them: they go to another process.
    """
    context = multiprocessing.get_context("spawn")
    stop, (receiver, sender) = context.Event(), context.Pipe(duplex=False)
    offer = partial(_offer, address, connections, make_request, judge)
    process = context.Process(target=_work, args=(offer, stop, sender))
    process.start()
    sender.close()
    load = Load([])
    try:
        yield load
    finally:
        stop.set()
        with contextlib.suppress(EOFError):  # it has ended early, with a message of its own
            load.answers += receiver.recv()
        process.join()


def _work(offer: Callable[[Event], Coroutine[Any, Any, list[Answer]]], stop: Event, sender: Connection) -> None:
    sender.send(asyncio.run(offer(stop)))


async def _offer(address: str, connections: int, make_request: MakeRequest, judge: Judge, stop: Event) -> list[Answer]:
    answers: list[Answer] = []
    over = asyncio.Event()

    async def send(number: int) -> None:
        host, port = urlsplit(address).hostname, urlsplit(address).port
        connection: _Connection | None = None
        count = 0
        while not over.is_set():
            request, sent_s = make_request(number, count), time.monotonic()
            try:
                if connection is None:
                    _, connection = await asyncio.get_running_loop().create_connection(_Connection, host, port)
                status, model, body = await connection.exchange(request)
            except OSError:
                connection, status, model, body = None, NOT_ANSWERED, "", b""
                await asyncio.sleep(_PAUSE_S)
            note = judge(Response(number, status, model, body))
            answers.append(Answer(sent_s, time.monotonic(), status, note))
            count += 1
        if connection:
            connection.close()

    async with asyncio.TaskGroup() as tasks:
        for number in range(connections):
            tasks.create_task(send(number))
        while not stop.is_set():  # noqa: ASYNC110 - another process sets it
            await asyncio.sleep(_STOP_POLL_S)
        over.set()
    return answers


class _Connection(asyncio.Protocol):
    """A connection that carries one request at a time."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._response: asyncio.Future[tuple[int, str, bytes]] | None = None

    async def exchange(self, request: bytes) -> tuple[int, str, bytes]:
        """Return status, `X-Model` and body. Raises `ConnectionError` if the connection ends before."""
        if self._transport.is_closing():
            raise ConnectionResetError
        self._response = asyncio.get_running_loop().create_future()
        self._parser = httptools.HttpResponseParser(self)
        self._model, self._body = "", b""
        self._transport.write(request)
        return await self._response

    def close(self) -> None:
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"x-model":
            self._model = value.decode("ascii")

    def on_body(self, data: bytes) -> None:
        self._body += data

    def on_message_complete(self) -> None:
        if not self._parser.should_keep_alive():
            self._transport.close()
        if self._response and not self._response.done():
            self._response.set_result((self._parser.get_status_code(), self._model, self._body))

    def connection_lost(self, _: Exception | None) -> None:
        if self._response and not self._response.done():
            self._response.set_exception(ConnectionResetError())
