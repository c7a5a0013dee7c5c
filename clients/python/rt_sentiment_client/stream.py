"""`POST /predict/stream` over a connection of its own.

httpx sends a whole request before it reads the response. Here answers are read while texts are sent, with h11 for HTTP
and asyncio for the connection. `Client` runs this in a thread.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from urllib.parse import urlsplit

import anyio
import h11

from .connection import CONNECT_TIMEOUT_S, Connection, is_about_certificate
from .errors import (
    DeadlineExceeded,
    SentimentError,
    Unavailable,
    UnexpectedResponse,
    UntrustedServer,
    error_from_response,
)
from .many import Result
from .messages import Options
from .retry import Deadline
from .window import Window

_WINDOW = 256
# Proxies such as nginx cannot hold back a request whose response has begun: it must fit into their buffers.
_WINDOW_BYTES = 512 * 1024
_MAX_LINE_BYTES = 1 << 20
_READ_BYTES = 1 << 16
_CHECKS = 4  # for answers, in the time that an attempt may take


class Stream:
    """Texts on their way to a server, and their results."""

    def __init__(
        self,
        connection: Connection,
        texts: AsyncIterable[str] | Iterable[str],
        options: Options,
        timeout_s: float,
        request_id: str,
    ) -> None:
        self._connection = connection
        self._texts = texts
        self._options = options
        self._timeout_s = timeout_s
        self._request_id = request_id
        self._window = Window(_WINDOW, _WINDOW_BYTES, request_id)
        self._reading: asyncio.Task[None] | None = None
        self._exchanging: asyncio.Task[None] | None = None
        self._attempt = 0
        self._deadline = Deadline(timeout_s)
        self._pause_s = 0.0
        # Whether a proxy passes a request on only when it is complete.
        self._is_buffered = False

    async def next_results(self) -> list[Result]:
        """Return the next results in the order of the texts; none at the end. Raises what ends the stream."""
        if self._exchanging is None:
            self._reading = asyncio.create_task(self._read_texts())
            self._exchanging = asyncio.create_task(self._exchange_all())
            self._exchanging.add_done_callback(lambda _: self._window.has_results.set())
        while True:
            if results := self._window.take():
                return results
            if self._exchanging.done():
                self._exchanging.result()
                if self._window.failure:
                    raise self._window.failure
                return []
            await self._window.has_results.wait()

    async def close(self) -> None:
        """End the connection, and stop reading texts."""
        tasks = [task for task in (self._reading, self._exchanging) if task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _read_texts(self) -> None:
        try:
            async for text in _iterate(self._texts):
                self._window.add(text)
                await self._window.has_room.wait()
        except Exception as error:  # whatever the iterable raises; results come first
            self._window.end(error)
        else:
            self._window.end()

    async def _exchange_all(self) -> None:
        """Send requests until every text has its answer."""
        while True:
            await self._window.has_lines.wait()
            if self._window.is_answered:
                return
            if not self._attempt:
                self._progress()
            error = await self._exchange()
            self._window.reconnect()
            # An idle connection may end at any time.
            if error and (self._window.has_unsent or not error.is_temporary):
                self._attempt += 1
                error.attempts = self._attempt
                wait_s = self._connection.policy.wait_s(error, self._attempt, self._deadline)
                if wait_s is None:
                    raise error
                await asyncio.sleep(wait_s)

    def _progress(self) -> None:
        self._attempt = 0
        self._deadline = Deadline(self._timeout_s)

    async def _exchange(self) -> SentimentError | None:
        """Send one request, and read its response; return what went wrong."""
        url = urlsplit(self._connection.base_url)
        port = url.port or (443 if url.scheme == "https" else 80)
        trusted = self._connection.ssl_context if url.scheme == "https" else None
        try:
            with anyio.fail_after(CONNECT_TIMEOUT_S):
                reader, writer = await asyncio.open_connection(url.hostname, port, ssl=trusted)
        except OSError as error:  # TimeoutError is one, too
            if is_about_certificate(error):
                return UntrustedServer("the server's certificate is not valid", request_id=self._request_id)
            return Unavailable("there is no connection to the server", request_id=self._request_id)
        http = h11.Connection(h11.CLIENT)
        writer.write(http.send(self._request(url.netloc, url.path)) or b"")
        sending = asyncio.create_task(self._send(http, writer))
        try:
            await self._receive(http, reader, writer)
        except SentimentError as error:
            return error
        except (OSError, h11.RemoteProtocolError):
            return Unavailable("the connection to the server broke", request_id=self._request_id)
        finally:
            # First, as this task may be cancelled while it waits. Closing would wait for a frozen server to read all.
            writer.transport.abort()
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
        if self._window.is_waiting:
            return Unavailable("the stream ended before all texts were answered", request_id=self._request_id)
        return None

    def _request(self, host: str, prefix: str) -> h11.Request:
        query = self._options.query()
        headers = {
            "host": host,
            "content-type": "application/x-ndjson",
            "transfer-encoding": "chunked",
            "x-request-id": self._request_id,
        }
        return h11.Request(
            method="POST",
            target=f"{prefix}/predict/stream{'?' if query else ''}{query}",
            headers=[*(dict(self._connection.headers) | headers).items()],
        )

    async def _send(self, http: h11.Connection, writer: asyncio.StreamWriter) -> None:
        """Send texts as they come. `_receive` notices if the connection breaks."""
        with contextlib.suppress(OSError, h11.LocalProtocolError):
            while True:
                await self._window.has_lines.wait()
                await asyncio.sleep(self._pause_s)
                self._pause_s = 0.0
                if not self._attempt and not self._window.is_waiting:
                    self._progress()  # there was nothing to do before
                if lines := self._window.lines():
                    writer.write(http.send(h11.Data(lines)) or b"")
                    await writer.drain()
                if self._is_buffered or not lines:
                    writer.write(http.send(h11.EndOfMessage()) or b"")
                    return

    async def _receive(self, http: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read the response. Raises `SentimentError`, `OSError` or `h11.RemoteProtocolError` if it is not complete."""
        status, headers, body = 0, dict[str, str](), b""
        while True:
            event = http.next_event()
            if event is h11.NEED_DATA:
                http.receive_data(await self._read(http, reader, writer))
            elif isinstance(event, h11.Response):
                status = event.status_code
                headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in event.headers}
            elif isinstance(event, h11.Data):
                body += event.data
                if status == 200:
                    *lines, body = body.split(b"\n")
                    for line in lines:
                        self._take_answer(line, headers.get("x-model"))
                if len(body) > _MAX_LINE_BYTES:
                    raise UnexpectedResponse("a line of the stream is too long", request_id=self._request_id)
            elif isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
                if status not in {0, 200}:
                    raise error_from_response(status, headers, body, self._request_id)
                if body:
                    self._take_answer(body, headers.get("x-model"))
                return

    def _take_answer(self, line: bytes, model: str | None) -> None:
        if not line.strip():
            return
        text, result = self._window.receive(line, model)
        if isinstance(result, SentimentError):
            text.attempts += 1
            result.attempts = text.attempts
            wait_s = self._connection.policy.wait_s(result, text.attempts, self._deadline)
            if wait_s is not None:
                self._pause_s = max(self._pause_s, wait_s)
                self._window.send_again(text)
                return
        self._window.answer(text, result)
        self._progress()

    async def _read(self, http: h11.Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        """Read from the connection. Raises `DeadlineExceeded` if the server owes an answer and sends nothing."""
        limit_s = min(self._timeout_s, self._connection.policy.attempt_timeout_s or self._timeout_s)
        silent = 0
        while True:
            with anyio.move_on_after(limit_s / _CHECKS):
                return await reader.read(_READ_BYTES)
            owes = self._window.is_waiting or self._window.is_answered  # an answer, or the end of the response
            silent = silent + 1 if owes else 0
            if silent == 2 and http.our_state is h11.SEND_BODY:
                # A proxy may be waiting for the end of the request.
                self._is_buffered = True
                writer.write(http.send(h11.EndOfMessage()) or b"")
            elif silent > _CHECKS:
                raise DeadlineExceeded("there was no answer in time", request_id=self._request_id)


async def _iterate(texts: AsyncIterable[str] | Iterable[str]) -> AsyncIterator[str]:
    if isinstance(texts, AsyncIterable):
        async for text in texts:
            yield text
    else:
        for text in texts:
            yield text
