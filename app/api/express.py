"""Who may take the short way: requests for the endpoints that predict, answered as their connection has them.

ASGI, its layers and a task for each request take longer than all else does for an answer from the cache. The usual
request needs none of them: all of it has come, and its answer is one write. It meets the same gates, the same endpoint
and the same errors as one that comes through FastAPI, where everything goes that is not usual.
"""

from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, Protocol

from starlette.types import Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from . import body, context
from .context import headers_of
from .endpoint import Endpoint
from .gates import Gate

MOST_BYTES = 64 * 1024  # of a body


class Observer(Protocol):
    """Is told of every answer, for metrics."""

    def answered(self, method: str, path: str, status: int, seconds: float) -> None:
        """A request to the route of `path` was answered."""


class Express:
    """Knows the endpoints that the short way leads to, and what stands on it."""

    def __init__(
        self,
        endpoints: Sequence[Endpoint[Any]],
        gates: Sequence[Gate],
        observer: Observer,
        trusted_proxies: Iterable[str],
    ) -> None:
        self._endpoints = {endpoint.path.encode(): endpoint for endpoint in endpoints}
        self.gates = gates
        self.observer = observer
        # uvicorn has types of its own for ASGI.
        self._forwarded = ProxyHeadersMiddleware(_nobody, list(trusted_proxies))  # type: ignore[arg-type]

    def take(self, method: bytes, url: bytes, scope: Scope) -> Endpoint[Any] | None:
        """Begin a request whose headers have come, and return the endpoint that it is for; None: the long way.

        What can be told from the headers to be refused before its body comes goes the long way, which does so.
        """
        endpoint = self._endpoints.get(url) if method == b"POST" else None
        headers = headers_of(scope)
        if endpoint is None or b"origin" in headers:  # of the page of a browser (CORS)
            return None
        try:
            body.check(headers, min(endpoint.max_bytes, MOST_BYTES))
        except Exception:
            return None
        scope["method"], scope["path"] = "POST", endpoint.path
        if b"x-forwarded-for" in headers:
            _run(self._forwarded(scope, _never, _never))  # type: ignore[arg-type]
        context.begin(scope)
        return endpoint


async def _nobody(_scope: Scope, _receive: Receive, _send: Send) -> None:
    """An application that leaves it at what was done before it."""


async def _never() -> None: ...


def _run(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run what has nothing to wait for."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise AssertionError
