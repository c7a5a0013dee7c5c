"""One system call per response: uvicorn writes the head of a response and its body one after the other."""

import asyncio
from typing import Any

_MAX_HELD_BYTES = 64 * 1024


class JoiningTransport:
    """Joins what is written in one step of the event loop. For everything else, it is the transport that it wraps."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self.is_closing = transport.is_closing  # directly: uvicorn and we ask for it a few times per request
        self._loop = loop
        self._held: list[bytes] = []
        self._held_bytes = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if not self._held:
            self._loop.call_soon(self.flush)
        self._held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes > _MAX_HELD_BYTES:  # from here on, flow control must see what a long response writes
            self.flush()

    def flush(self) -> None:
        data = b"".join(self._held)
        self._held.clear()
        self._held_bytes = 0
        if data and not self._transport.is_closing():
            self._transport.write(data)

    def close(self) -> None:
        self.flush()
        self._transport.close()
