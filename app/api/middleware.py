"""The single entry point: every request passes through this ASGI middleware."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..access import RateLimit
from ..logs import log_exception
from ..trace_context import Trace, current
from .checks import Check
from .context import NO_PATH, POLLED, REFUSED, RequestContext, begin, context_of
from .errors import no_such_path, respond_to, shutting_down, unexpected
from .prefix import ProxyPrefix
from .rate import count, is_counted
from .routes import Routes


class Observer(Protocol):
    """Counts responses."""

    def answered(self, method: str, path: str, status: int, seconds: float) -> None:
        """A response was sent; `path` is one of ours or "none"."""


class Tracer(Protocol):
    """Begins traces."""

    def begin(self, method: str, route: str | None, headers: Mapping[bytes, bytes]) -> Trace | None:
        """Begin the span of a request, or continue the trace of its client."""


class Middleware:
    """Gives each request an id, checks, error responses, metrics and an access line.

    A `POST` to a path in `endpoints` goes to that plain ASGI application, everything else to `app`.
    `paths` are those that logs and metrics may name; they may have parameters, as in `/v2/models/{name}`. `cors` wraps
    what answers, so that refusals have its headers. `prefix` finds the path below which a proxy serves them. `rate`
    counts requests before their bodies are read. `has_plain_errors` says for a method and a path whether errors are
    `{"error": "…"}`. `tracer` begins a span for each request but those for probes and metrics.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        endpoints: Mapping[str, ASGIApp],
        checks: Sequence[Check],
        observer: Observer,
        paths: Collection[str],
        cors: Callable[[ASGIApp], ASGIApp] | None = None,
        prefix: ProxyPrefix | None = None,
        rate: RateLimit | None = None,
        has_plain_errors: Callable[[str, str], bool] = lambda _method, _path: False,
        tracer: Tracer | None = None,
    ) -> None:
        self._app = app
        self._endpoints = endpoints
        self._checks = checks
        self._observer = observer
        self._routes = Routes(paths)
        self._inner = cors(self._answer) if cors else self._answer
        self._prefix = prefix
        self._rate = rate
        self._has_plain_errors = has_plain_errors
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        context = begin(scope)
        if self._prefix:
            self._prefix.apply(scope, context, self._routes)
        context.route = self._routes.find(context.path)
        context.has_plain_errors = self._has_plain_errors
        if self._tracer:
            polled = context.route in POLLED
            context.trace = None if polled else self._tracer.begin(scope["method"], context.route, context.headers)
            if context.trace or current.get():  # a request may inherit the context of the one before it
                current.set(context.trace)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                context.status = message["status"]
                message["headers"] = [*message.get("headers", ()), *context.response_headers()]
            await send(message)

        try:
            # CORS concerns only requests from web pages, which have an origin.
            inner = self._inner if b"origin" in context.headers else self._answer
            await inner(scope, receive, send_with_headers)
        finally:
            refused: int | None = scope["state"].get(REFUSED)
            if not refused:
                self._record(scope["method"], context)
            if context.trace and context.trace.is_sampled:
                attributes = {"request_id": context.request_id, "model": context.model, **context.lines}
                context.trace.end(refused or context.final_status, attributes)

    def _record(self, method: str, context: RequestContext) -> None:
        try:
            self._observer.answered(method, context.route or "none", context.final_status, context.elapsed_s)
            context.log(method, context.route or "(none)")
        except Exception as error:  # the client has its response; a failure here must not affect its next request
            log_exception("unexpected error", error, request_id=context.request_id)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, and every error that it causes."""
        context = context_of(scope)
        try:
            refusal = None
            for check in self._checks:
                if refusal := check(scope, context):
                    break
            if self._rate and is_counted(scope["method"], context.route_or_path):
                await count(self._rate, context, 1)
            if refusal:
                await refusal(scope, receive, send)
                return
            if context.path == NO_PATH:  # a router may read it in another way: starlette ignores a final line feed
                await no_such_path(context.request_id)(scope, receive, send)
                return
            endpoint = self._endpoints.get(context.route or "") if scope["method"] == "POST" else None
            await (endpoint or self._app)(scope, receive, send)
        except asyncio.CancelledError:
            # The server has waited long enough for this request and shuts down.
            if context.status is not None:
                raise
            await shutting_down(context.request_id)(scope, receive, send)
        except BaseException as error:  # a panic in a library written in Rust is not an Exception
            if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit):
                raise
            response = respond_to(context.request_id, error) or unexpected(context.request_id, error)
            if context.status is None:
                await response(scope, receive, send)
