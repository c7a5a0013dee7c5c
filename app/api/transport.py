"""What a connection writes to: uvicorn writes the head of an answer and its body one after the other."""

import asyncio
from typing import Any

from ..logs import log_exception


class Cork:
    """Holds what connections write in one step of the event loop, and sends it when the step is over.

    A system call less for each answer, and a packet less for its client: together a fifth of the time that an answer
    from the cache takes.
    """

    def __init__(self) -> None:
        self._holding: list[CorkedTransport] = []

    def hold(self, transport: "CorkedTransport", loop: asyncio.AbstractEventLoop) -> None:
        """Have `transport` send what it has by the end of this step of `loop`."""
        if not self._holding:
            loop.call_soon(self._send)
        self._holding.append(transport)

    def _send(self) -> None:
        holding, self._holding = self._holding, []
        for transport in holding:
            try:
                transport.send()
            except Exception as error:  # the others have nothing to do with it
                log_exception("answer not sent", error)
                transport.abort()


class CorkedTransport:
    """A transport whose writes are held by a cork; in all else the one that it is put around."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, cork: Cork) -> None:
        self._transport = transport
        self._loop = loop
        self._cork = cork
        self._held: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    @property
    def holds(self) -> bool:
        """Whether something is to be sent by the end of this step."""
        return bool(self._held)

    def write(self, data: bytes) -> None:
        """Send `data` by the end of this step."""
        if not self._held:
            self._cork.hold(self, self._loop)
        self._held.append(data)

    def close(self) -> None:
        """Send what there is, then close."""
        self.send()
        self._transport.close()

    def send(self) -> None:
        """Send what there is."""
        data = b"".join(self._held)
        self._held.clear()
        if data and not self._transport.is_closing():  # it may have been lost or aborted meanwhile
            self._transport.write(data)
