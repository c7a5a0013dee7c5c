"""What every request gets, in plain ASGI: an id, an access line, and an answer whatever happens."""

import asyncio
import functools
import logging
import random
import re
import time
from collections.abc import Collection
from ipaddress import ip_address
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.errors import problem
from app.logs import log, log_exception
from app.metrics import METHODS

QUOTA_HEADERS = ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")
# Nobody's page may frame ours or guess at the type of an answer, and no link of the docs tells where it was followed.
_SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
)
# Paths that are polled; their lines are noise at the usual level.
PROBES = ("/livez", "/readyz", "/healthz")
_QUIET = frozenset({*PROBES, "/metrics"})
STATUS = "status"  # in the state of a request's scope, once its answer has begun
_PORT = re.compile(r":\d+$")


class RequestContext:
    """Gives each request its id, writes its access line and adds `X-Request-ID` and `Server-Timing`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started_s = time.perf_counter()
        if scope.get("client") and not _is_address(scope["client"][0]):
            scope["client"] = None  # a proxy that is trusted has passed on what somebody wrote
        state: dict[str, Any] = scope.setdefault("state", {})
        request_id = state["id"] = _request_id(headers_of(scope).get(b"x-request-id", b"").decode("latin-1"))
        timings: dict[str, float] = state.setdefault("timings", {})

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                state[STATUS] = message["status"]
                headers = [*message["headers"], *_SECURITY_HEADERS, (b"x-request-id", request_id.encode())]
                if quota := state.get("quota"):
                    values = (quota.limit, quota.remaining, quota.reset_s)
                    headers += [
                        (name.lower().encode(), b"%d" % value)
                        for name, value in zip(QUOTA_HEADERS, values, strict=True)
                    ]
                if timings:
                    timings["total"] = (time.perf_counter() - started_s) * 1000
                    timing = ", ".join([f"{name};dur={ms:.2f}" for name, ms in timings.items()])
                    headers.append((b"server-timing", timing.encode()))
                message = {**message, "headers": headers}
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        finally:
            route = scope.get("route")
            path = getattr(route, "path", "(none)")  # not the raw path: callers put texts there
            level = logging.DEBUG if path in _QUIET else logging.INFO
            fields: dict[str, Any] = {f"{name}_ms": round(ms, 2) for name, ms in timings.items() if name != "total"}
            if key := state.get("key"):
                fields["key"] = key
            log(
                level,
                "request",
                method=scope["method"] if scope["method"] in METHODS else "(other)",
                path=path,
                status=status_of(scope),
                ms=round((time.perf_counter() - started_s) * 1000, 2),
                **fields,
                request_id=request_id,
                client=scope["client"][0] if scope.get("client") else None,
            )


class HeaderLimit:
    """Answers 431 to headers that are larger than `max_header_bytes` together.

    The HTTP parser has no limit, and has read them by then: what bounds the memory is a proxy in front. This makes both
    answer alike.
    """

    def __init__(self, app: ASGIApp, max_header_bytes: int) -> None:
        self._app = app
        self._max_header_bytes = max_header_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        app = self._app
        if scope["type"] == "http" and sum(map(_size, scope["headers"])) > self._max_header_bytes:
            detail = f"the headers are larger than {self._max_header_bytes} bytes together"
            app = problem(scope["state"]["id"], 431, "Request Header Fields Too Large", detail)
        await app(scope, receive, send)


class AllowedHosts:
    """Answers 400 to a `Host` that is none of `hosts`: a page may have had its own name lead here (DNS rebinding)."""

    def __init__(self, app: ASGIApp, hosts: Collection[str]) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        app = self._app
        if scope["type"] == "http" and scope["path"] not in PROBES:  # which are asked by address
            host = Headers(scope=scope).get("host", "").lower()
            if host not in self._hosts and _PORT.sub("", host) not in self._hosts:
                app = problem(scope["state"]["id"], 400, "Bad Request", "the server does not answer to this Host")
        await app(scope, receive, send)


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
            headers = {"Retry-After": "1", "Connection": "close"}
            detail = "the server is shutting down"
            await problem(scope["state"]["id"], 503, "Not Ready", detail, headers=headers)(scope, receive, send)
        except Exception as error:
            if scope["type"] != "http":
                raise
            request_id = scope["state"]["id"]
            log_exception("unexpected error", error, request_id=request_id)
            if STATUS not in scope["state"]:
                detail = "the server failed to answer this request"
                await problem(request_id, 500, "Internal Server Error", detail)(scope, receive, send)


def headers_of(scope: Scope) -> dict[bytes, bytes]:
    """By name, the first of each, as starlette has it; which looks through all of them for every one that is asked."""
    state: dict[str, Any] = scope["state"]
    headers: dict[bytes, bytes] | None = state.get("headers")
    if headers is None:
        headers = state["headers"] = dict(reversed(scope["headers"]))
    return headers


def status_of(scope: Scope) -> int:
    """The status that a request was answered with; nginx's 499 when its client had left before."""
    status: int = scope["state"].get(STATUS, 499)
    return status


def _size(header: tuple[bytes, bytes]) -> int:
    name, value = header
    return len(name) + len(value)


@functools.lru_cache(1024)
def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _request_id(given: str) -> str:
    """The caller's id when it is 1 to 128 visible ASCII characters, one of our own otherwise."""
    if given and len(given) <= 128 and all("!" <= char <= "~" for char in given):
        return given
    return new_id()


def new_id() -> str:
    """An id for a request."""
    return f"{random.getrandbits(64):016x}"  # tells requests apart, guards nothing
