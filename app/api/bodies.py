"""The bodies of all requests: read as they arrive, parsed, and limited in the memory that they take together."""

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Protocol, Self, TypeVar

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from ..cpu import usable_cores
from ..errors import BodiesFull, TextTooLong
from ..logs import log

# pydantic takes less than a millisecond for the worst body of this size. It is never refused for want of memory.
SMALL_BYTES = 4 * 1024
_TINY_BYTES = 256  # less than half a millisecond
# Parsing this much takes about a millisecond, during which the event loop may have to wait for the interpreter lock.
_PIECE_BYTES = 64 * 1024
_LOG_INTERVAL_S = 10.0
_RETRY_AFTER_S = 1.0


class Parser(Protocol):
    """Parses a body that comes in pieces."""

    def feed(self, data: bytes, *, is_last: bool = False) -> None:
        """Parse the next piece; raise what is wrong with it."""

    @property
    def held_bytes(self) -> int:
        """Memory that it takes."""


P = TypeVar("P", bound=Parser)


class Bodies:
    """Counts the memory of all bodies, and parses large ones in threads, of which there is one per core."""

    def __init__(self, max_held_bytes: int) -> None:
        self.held_bytes = 0
        self._max_held_bytes = max_held_bytes
        self._threads = ThreadPoolExecutor(usable_cores(), thread_name_prefix="bodies")
        self._refused = 0  # since the last log line
        self._log_at_s = 0.0

    def hold(self) -> "Body":
        """Return a body that is to be read. What it holds counts until the end of its `with` statement."""
        return Body(self)

    @property
    def is_full(self) -> bool:
        """Whether all bodies together take too much memory."""
        return self.held_bytes > self._max_held_bytes

    def check_room(self) -> None:
        """Raise `BodiesFull` if all bodies together take too much memory."""
        if not self.is_full:
            return
        self._refused += 1
        if (now_s := time.monotonic()) >= self._log_at_s:
            self._log_at_s = now_s + _LOG_INTERVAL_S
            log(logging.WARNING, "bodies refused", held_bytes=self.held_bytes, refused=self._refused)
            self._refused = 0
        raise BodiesFull("request bodies take too much memory; try again later", _RETRY_AFTER_S)

    async def parse(self, parser: Parser, data: bytes, *, is_last: bool) -> None:
        """Parse a piece of a body in a thread, or wait until one is free; a tiny one at once."""
        if len(data) <= _TINY_BYTES:
            parser.feed(data, is_last=is_last)
            return
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._threads, lambda: parser.feed(data, is_last=is_last))


class Body:
    """The body of one request."""

    def __init__(self, bodies: Bodies) -> None:
        self._bodies = bodies
        self._held_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.count(0)

    async def read(self, receive: Receive, max_bytes: int, new_parser: Callable[[], P]) -> bytes | P:
        """Return a small body as it is, and a parser that has parsed a larger one. The server limits the time.

        Raises `TextTooLong` as soon as it is over `max_bytes`, `BodiesFull`, what the parser raises, and
        `ClientDisconnect` if the client leaves.
        """
        parser: P | None = None
        pending = bytearray()
        size = 0
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            data: bytes = message.get("body", b"")
            size += len(data)
            if size > max_bytes:
                raise TextTooLong(f"the body is larger than {max_bytes} bytes")
            more = message.get("more_body", False)
            self.count(self._held_bytes + len(data))
            if size <= SMALL_BYTES:
                if not more:
                    return bytes(pending) + data
                pending += data
                continue
            self._bodies.check_room()
            pending += data
            del message, data
            is_last = False
            while len(pending) >= _PIECE_BYTES or not (more or is_last):
                parser = parser or new_parser()
                piece = bytes(pending[:_PIECE_BYTES])
                del pending[:_PIECE_BYTES]
                is_last = not (more or pending)
                await self._bodies.parse(parser, piece, is_last=is_last)
                self.resize(len(pending) + parser.held_bytes)
        assert parser is not None
        return parser

    def resize(self, size: int) -> None:
        """Set how much memory the body takes. Raises `BodiesFull`."""
        self.count(size)
        self._bodies.check_room()

    def count(self, size: int) -> None:
        """Set how much memory the body takes, even if there is no room."""
        self._bodies.held_bytes += size - self._held_bytes
        self._held_bytes = size
