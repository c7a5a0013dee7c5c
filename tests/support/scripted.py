"""An HTTP server that gives the responses, and makes the faults, that a test lists."""

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

PREDICTION = {"label": "positive", "confidence": 0.9, "scores": {"negative": 0.1, "positive": 0.9}, "truncated": False}


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    # The lines of a body in chunks, as they arrive.
    lines: AsyncIterator[bytes]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


# Writes a response. The connection stays open if it returns true.
Reply = Callable[[Request, asyncio.StreamWriter], Awaitable[bool]]


def respond(status: int = 200, content: object = PREDICTION, **headers: str) -> Reply:
    """Respond with JSON, or with bytes as they are. In names of headers, `_` means `-`."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    all_headers = {"content-type": "application/json", "content-length": str(len(body))}
    all_headers |= {name.replace("_", "-"): value for name, value in headers.items()}

    async def reply(request: Request, writer: asyncio.StreamWriter) -> bool:
        head = "".join(f"{name}: {value}\r\n" for name, value in all_headers.items())
        writer.write(f"HTTP/1.1 {status} Whatever\r\n{head}\r\n".encode() + body)
        return True

    return reply


def problem(status: int, detail: str = "no", content: dict[str, Any] | None = None, **headers: str) -> Reply:
    fields = {"type": "about:blank", "title": "No", "status": status, "detail": detail} | (content or {})
    return respond(status, fields, content_type="application/problem+json", **headers)


async def disconnect(request: Request, writer: asyncio.StreamWriter) -> bool:
    """Close the connection without a response."""
    return False


async def break_off(request: Request, writer: asyncio.StreamWriter) -> bool:
    """Close the connection in the middle of a response."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{")
    await writer.drain()
    return False


async def hang(request: Request, writer: asyncio.StreamWriter) -> bool:
    """Never respond."""
    await asyncio.Event().wait()
    return False


async def trickle(request: Request, writer: asyncio.StreamWriter) -> bool:
    """Send a response slowly, and never all of it."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000000\r\n\r\n{")
    while True:
        writer.write(b" ")
        await writer.drain()
        await asyncio.sleep(0.02)


@dataclass
class Scripted:
    """A server that uses one reply after the other, and the last one again and again."""

    replies: list[Reply]
    address: str = ""
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    # What `GET /info` gets, which is not counted.
    info: Reply = field(default_factory=lambda: problem(404))

    async def serve_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                while await self._answer(await _read(reader), writer):
                    await writer.drain()
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer(self, request: Request, writer: asyncio.StreamWriter) -> bool:
        if request.path == "/info":
            return await self.info(request, writer)
        reply = self.replies[min(len(self.requests), len(self.replies) - 1)]
        self.requests.append(request)
        return await reply(request, writer)


async def _read(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, path, _ = head[0].split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(method, path, headers, body, _lines(reader))


async def _lines(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    rest = b""
    while size := int(await reader.readline(), 16):
        *lines, rest = (rest + (await reader.readexactly(size + 2))[:-2]).split(b"\n")
        for line in lines:
            yield line
    await reader.readline()


@contextlib.asynccontextmanager
async def scripted(*replies: Reply, tls: ssl.SSLContext | None = None) -> AsyncIterator[Scripted]:
    """Serve these replies on a free port."""
    running = Scripted([*replies])
    tasks: set[asyncio.Task[None]] = set()
    writers: list[asyncio.StreamWriter] = []

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.create_task(running.serve_connection(reader, writer)))
        writers.append(writer)

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=tls)
    running.address = f"{'https' if tls else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield running
    finally:
        server.close()
        for _ in range(3):  # connections that were just accepted
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in writers:  # a task that was cancelled before its first step has closed nothing
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)


async def echo(request: Request, writer: asyncio.StreamWriter) -> bool:
    """Respond to a list: the label of a text is the text itself."""
    places = [PREDICTION | {"label": text} for text in request.json["texts"]]
    return await respond(content={"predictions": places})(request, writer)
