"""How much a connection reads before it has answered."""

import asyncio
from collections.abc import Collection

from uvicorn.protocols.http.flow_control import FlowControl

MOST_WAITING = 100  # requests on one connection, behind the one that is being answered


class TooManyWaiting(Exception):
    """More requests wait on a connection than may."""


class Flow(FlowControl):
    """Reads nothing while requests wait that were read: each answer would let in thousands more."""

    def __init__(self, transport: asyncio.Transport, waiting: Collection[object]) -> None:
        super().__init__(transport)
        self._waiting = waiting

    def resume_reading(self) -> None:
        """Read on, unless there is enough to do."""
        if not self._waiting:
            super().resume_reading()
