"""Routes that FastAPI documents, and that answer without its help.

What FastAPI and the instrumentator do for a request, matching and exit stacks and dependencies, was half of the time
that an answer from the cache took. `python -m perf.layers` measures what is left.
"""

import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Protocol

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api import errors
from app.api.middleware import status_of

Endpoint = Callable[[Request], Awaitable[Response]]


class Observer(Protocol):
    """Is told of every answer, for metrics."""

    def answered(self, method: str, path: str, status: int, seconds: float) -> None:
        """A request to the route of `path` was answered."""


class DirectRoute(APIRoute):
    """A route whose endpoint takes the request and returns the response, and that is all there is to it."""

    def __init__(self, path: str, endpoint: Endpoint, **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        self.app = _plain(endpoint)


def _plain(endpoint: Endpoint) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        try:
            response = await endpoint(request)
        except Exception as error:
            response = await errors.answer(request, error)
        await response(scope, receive, send)

    return app


class Shortcut:
    """Leads to direct routes at once, through `layers` of their own; to everything else by the usual way."""

    def __init__(
        self, app: ASGIApp, routes: Iterable[DirectRoute], layers: Sequence[Middleware], observer: Observer
    ) -> None:
        self._app = app
        self._observer = observer
        self._direct: dict[tuple[str, str], tuple[DirectRoute, ASGIApp]] = {}
        for route in routes:
            layered = route.app
            for cls, args, kwargs in reversed(layers):
                layered = cls(layered, *args, **kwargs)
            self._direct |= {(method, route.path): (route, layered) for method in route.methods or ()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        found = self._direct.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if found is None:
            await self._app(scope, receive, send)
            return
        scope["route"], app = found
        started_s = time.perf_counter()
        try:
            await app(scope, receive, send)
        finally:
            seconds = time.perf_counter() - started_s
            self._observer.answered(scope["method"], found[0].path, status_of(scope), seconds)
