"""Calls from web pages of other origins (CORS)."""

import logging
import re
from collections.abc import Collection

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from ..logs import log
from .context import QUOTA_HEADERS, RequestContext, context_of

_METHODS = ("GET", "POST")
# The last two continue the trace of a page.
_HEADERS = (
    "Authorization",
    "Content-Type",
    "X-API-Key",
    "X-Request-ID",
    "X-Request-Timeout-Ms",
    "traceparent",
    "tracestate",
)
# Pages may always send the first three (Fetch standard, "CORS-safelisted request-header").
_ALLOWED = frozenset(name.lower() for name in ("Accept", "Accept-Language", "Content-Language", *_HEADERS))
_ANSWER = ("X-Request-ID", "X-Model", "X-Cache", "X-Depth", "Server-Timing")
_EXPOSED = (*_ANSWER, "Retry-After", "traceresponse", *QUOTA_HEADERS)
# What may be in a log: an origin as browsers write it, and the name of a method or a header.
_ORIGIN = re.compile(r"null|[a-z][a-z0-9+.-]{0,31}://[\w.:\[\]-]{1,253}", re.ASCII)
_TOKEN = re.compile(r"[\w!#$%&'*+.^`|~-]{1,64}", re.ASCII)
_MAX_LOGGED = 20  # names


class Cors:
    """Lets pages of `origins` call the application, and logs why it refuses a preflight request."""

    def __init__(self, app: ASGIApp, *, origins: Collection[str]) -> None:
        self._origins = origins
        self._app = (
            CORSMiddleware(
                app, allow_origins=origins, allow_methods=_METHODS, allow_headers=_HEADERS, expose_headers=_EXPOSED
            )
            if origins
            else app
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)
        context = context_of(scope)
        if scope["method"] == "OPTIONS" and context.final_status >= 400 and (refused := self._refused(context)):
            fields = {"request_id": context.request_id, "client": context.client}
            log(logging.WARNING, "preflight refused", **refused, **fields)

    def _refused(self, context: RequestContext) -> dict[str, object]:
        """Return what is not allowed of a preflight request; nothing for other requests."""
        headers = {name: value.decode("latin-1") for name, value in context.headers.items()}
        origin, method = headers.get(b"origin"), headers.get(b"access-control-request-method")
        refused: dict[str, object] = {}
        if origin is None or method is None:
            return refused
        if origin not in self._origins and "*" not in self._origins:
            refused["origin"] = _loggable(origin, _ORIGIN)
        if method not in _METHODS:
            refused["method"] = _loggable(method, _TOKEN)
        if requested := headers.get(b"access-control-request-headers", "").lower():
            names = [name.strip() for name in requested.split(",")]
            if unknown := [_loggable(name, _TOKEN) for name in names if name not in _ALLOWED]:
                refused["headers"] = unknown[:_MAX_LOGGED]
        if b"access-control-request-private-network" in headers:
            refused["private_network"] = True
        return refused


def _loggable(value: str, pattern: re.Pattern[str]) -> str:
    return value if pattern.fullmatch(value) else "(invalid)"
