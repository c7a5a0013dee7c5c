"""Who may take the short way: requests for the endpoints that predict, answered as their connection has them.

ASGI, its layers and a task for each request take longer than all else does for an answer from the cache. The usual
request needs none of them: all of it has come, and its answer is one write. It meets the same gates, the same endpoint
and the same errors as one that comes through FastAPI, where everything goes that is not usual.
"""

from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, Protocol

from starlette.types import Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from app.api import context
from app.api.context import headers_of
from app.api.endpoint import Endpoint
from app.api.gates import Gate


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

    def leads_to(self, method: bytes, url: bytes) -> Endpoint[Any] | None:
        """Return the endpoint that a request is for, if any."""
        return self._endpoints.get(url) if method == b"POST" else None

    def begin(self, scope: Scope, endpoint: Endpoint[Any]) -> bool:
        """Begin a request as the outer layers of the application do; False when it wants one that is missing here."""
        headers = headers_of(scope)
        if b"origin" in headers:  # the page of a browser (CORS)
            return False
        scope["method"], scope["path"] = "POST", endpoint.path
        if b"x-forwarded-for" in headers:
            _run(self._forwarded(scope, _never, _never))  # type: ignore[arg-type]
        context.begin(scope)
        return True


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
