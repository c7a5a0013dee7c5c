"""Stop waiting for a client that has gone, or that sends what cannot be read."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from fastapi import Request
from starlette.requests import ClientDisconnect
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

T = TypeVar("T")

LEFT = "left"  # in the state of a request's scope: a future that is done when the client leaves


async def unless_disconnected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Return the result of `work`; cancel it and raise `ClientDisconnect` when the client leaves meanwhile.

    `app.server.protocol` tells of that. To wait for ASGI's own message would take a task for each request.
    """
    left: asyncio.Future[None] | None = request.scope["state"].get(LEFT)
    if left is None:  # another server's connection
        return await work
    current = asyncio.current_task()
    assert current is not None
    over = False

    def cancel(_: object) -> None:
        if not over:
            current.cancel()

    left.add_done_callback(cancel)
    try:
        return await work
    except asyncio.CancelledError:
        if left.done():
            current.uncancel()
            raise ClientDisconnect from None
        raise
    finally:
        over = True
        left.remove_done_callback(cancel)


def no_more_body(cycle: RequestResponseCycle) -> bool:
    """Have a request give up that waits for the rest of its body; False when it doesn't, or answers already."""
    if not cycle.more_body or cycle.response_started:
        return False
    cycle.disconnected = True
    cycle.message_event.set()
    return True
