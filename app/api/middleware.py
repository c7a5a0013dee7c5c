"""Around every request, in plain ASGI: an id and an access line, and an answer whatever happens."""

import asyncio
from collections.abc import Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from . import context
from .context import STATUS
from .errors import ending, unexpected


class RequestContext:
    """Gives each request its id, writes its access line and adds `X-Request-ID` and `Server-Timing`.

    The lines name no other paths than those given: callers put texts there.
    """

    def __init__(self, app: ASGIApp, paths: Iterable[str]) -> None:
        self._app = app
        self._paths = frozenset(paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        context.begin(scope)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                scope["state"][STATUS] = message["status"]
                message = {**message, "headers": [*message["headers"], *context.common_headers(scope)]}
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        finally:
            path = scope["path"]
            context.end(scope, path if path in self._paths else "(none)")


class Recovery:
    """Answers 500 to what nobody caught. Innermost, so that such an answer gets every header that others do."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        try:
            await self._app(scope, receive, send)
        except asyncio.CancelledError:
            # The server ends and has waited long enough, for a body that never came or an answer that nobody fetched.
            if scope["type"] != "http" or STATUS in scope["state"]:
                raise
            await ending(scope["state"]["id"])(scope, receive, send)
        except BaseException as error:  # a library's panic is no Exception
            if scope["type"] != "http" or isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit):
                raise
            response = unexpected(scope["state"]["id"], error)
            if STATUS not in scope["state"]:
                await response(scope, receive, send)
