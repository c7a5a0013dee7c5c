"""A connection of the server's protocol to an application, without a socket."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn import Config
from uvicorn.server import ServerState

from app.server.connections import Connections
from app.server.protocol import LimitedProtocol
from tests.support.waiting import async_until

GET = b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n"


POST = b"POST /predict HTTP/1.1\r\nHost: a\r\n"


class Transport(asyncio.Transport):
    """Keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.was_aborted = False
        self.reads = True
        self._is_closing = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": ("192.0.2.1", 1234), "sockname": ("192.0.2.2", 80)}.get(name, default)

    def write(self, data: Any) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self._is_closing

    def close(self) -> None:
        self._is_closing = True

    def abort(self) -> None:
        self.was_aborted = True
        self.close()

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True

    @property
    def statuses(self) -> list[int]:
        return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+) ", self.written)]


class Application:
    """An ASGI application that reads each body and answers 200, once `open` is set."""

    def __init__(self) -> None:
        self.scopes: list[Scope] = []
        self.bodies: list[bytes] = []
        self.left = 0
        self.open = asyncio.Event()
        self.open.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.left += 1
                return
            body += message["body"]
            more = message["more_body"]
        self.bodies.append(body)
        await self.open.wait()
        await respond(send)


async def respond(send: Send, status: int = 200) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"{}"})


class Connection:
    """A connection of `LimitedProtocol` to an application."""

    def __init__(
        self, app: ASGIApp, header_timeout_s: float, body_timeout_s: float, connections: Connections | None = None
    ) -> None:
        self.transport = Transport()
        self.refused: list[int] = []
        config = Config(app, log_config=None, ws="none", lifespan="off", interface="asgi3")
        self.protocol = LimitedProtocol(
            config=config,
            server_state=ServerState(),
            app_state={},
            header_timeout_s=header_timeout_s,
            body_timeout_s=body_timeout_s,
            stream_idle_s=body_timeout_s,
            max_header_bytes=2048,
            on_unreadable=self.refused.append,
            connections=connections or Connections(1000),
        )
        self.protocol.connection_made(self.transport)

    def receive(self, *parts: bytes) -> None:
        for data in parts:
            if not self.transport.is_closing():  # as asyncio does
                self.protocol.data_received(data)

    async def responses(self, *statuses: int) -> None:
        """Wait for responses with these statuses, and check that no other response is sent."""
        await async_until(lambda: len(self.transport.statuses) >= len(statuses))
        await settle()
        assert self.transport.statuses == [*statuses]

    @property
    def problem(self) -> Any:
        return json.loads(self.transport.written.rpartition(b"\r\n\r\n")[2])


def pass_time(seconds: float) -> None:
    """Set the clock of the event loop forward, so that its timers are due earlier."""
    loop = asyncio.get_running_loop()
    before = loop.time
    loop.time = lambda: before() + seconds  # type: ignore[method-assign]


async def settle() -> None:
    """Let all tasks run that are ready, and those that they wake up."""
    for _ in range(20):
        await asyncio.sleep(0)


@asynccontextmanager
async def connected(
    app: ASGIApp | None = None,
    *,
    header_timeout_s: float = 1000,
    body_timeout_s: float = 1000,
    connections: Connections | None = None,
) -> AsyncIterator[Connection]:
    failures: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: failures.append(context))
    connection = Connection(app or Application(), header_timeout_s, body_timeout_s, connections)
    yield connection
    connection.protocol.connection_lost(None)
    await settle()
    assert failures == []
