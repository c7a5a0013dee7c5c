"""Who may call: API keys, in plain ASGI, before a body is read."""

import asyncio
import contextlib
import logging
from ipaddress import ip_address, ip_network

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from app.api.errors import problem
from app.api.middleware import PROBES
from app.errors import KeysError
from app.keys import Keys
from app.logs import log

_INFORMATION = ("/", "/info", "/metrics", "/openapi.json", "/docs", "/static-offline-docs")
_LOOK_EVERY_S = 2.0


class Authentication:
    """Lets those pass who show a key, as `Authorization: Bearer` or `X-API-Key`, and notes whose it is.

    401 without one, 403 with a wrong one. Probes are open to all, and so is information unless `closed`.
    """

    def __init__(self, app: ASGIApp, keys: Keys, *, closed: bool) -> None:
        self._app = app
        self._keys = keys
        self._open = PROBES if closed else (*PROBES, *_INFORMATION)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        app = self._app
        if scope["type"] == "http" and not self._is_open(scope["path"]):
            request_id = scope["state"]["id"]
            key = _presented(Headers(scope=scope))
            name = self._keys.holder(key) if key else None
            if key is None:
                detail = "an API key is needed: Authorization: Bearer …, or X-API-Key"
                app = problem(request_id, 401, "Unauthorized", detail, headers={"WWW-Authenticate": "Bearer"})
            elif name is None:
                log(logging.WARNING, "key refused", request_id=request_id, client=_client(scope))
                app = problem(request_id, 403, "Forbidden", "there is no such API key")
            scope["state"]["key"] = name
        await app(scope, receive, send)

    def _is_open(self, path: str) -> bool:
        return path in self._open or ("/docs" in self._open and path.startswith("/static-offline-docs/"))


def _presented(headers: Headers) -> str | None:
    scheme, _, key = headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else headers.get("x-api-key")


def holder(request: Request) -> str | None:
    """Whose key came with a request, where keys are on."""
    name: str | None = request.scope["state"].get("key")
    return name


def caller(request: Request) -> str:
    """Whose request it is: the holder of its key, or its address, of IPv6 the network that one customer has."""
    if name := holder(request):
        return f"key {name}"
    address = request.client.host if request.client else ""
    with contextlib.suppress(ValueError):
        if (parsed := ip_address(address)).version == 6:
            return str(ip_network((parsed, 64), strict=False))
    return address


def _client(scope: Scope) -> str | None:
    return scope["client"][0] if scope.get("client") else None


async def keep_fresh(keys: Keys) -> None:
    """Follow changes of the file for as long as the server runs."""
    while True:
        await asyncio.sleep(_LOOK_EVERY_S)
        try:
            if await asyncio.to_thread(keys.refresh):
                log(logging.INFO, "keys loaded", names=keys.names)
        except KeysError as error:
            log(logging.ERROR, "keys not loaded, the old ones stay", reason=str(error))
