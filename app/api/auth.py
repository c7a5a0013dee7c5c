"""Who may call: API keys, before a body is looked at."""

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from ipaddress import ip_address, ip_network

from starlette.responses import Response
from starlette.types import Scope

from ..access.keys import Keys
from ..errors import KeysError
from ..logs import log, log_exception
from .context import PROBES, headers_of
from .errors import problem
from .gates import Gate

_INFORMATION = ("/", "/info", "/metrics", "/openapi.json", "/docs", "/static-offline-docs")
_LOOK_EVERY_S = 2.0


def authentication(keys: Keys, *, closed: bool) -> Gate:
    """Notes whose key a request shows, as `Authorization: Bearer` or `X-API-Key`.

    401 without one, 403 with a wrong one. Probes are open to all, and so is information unless `closed`.
    """
    opened = PROBES if closed else (*PROBES, *_INFORMATION)

    def gate(scope: Scope) -> Response | None:
        path, request_id = scope["path"], scope["state"]["id"]
        if path in opened or ("/docs" in opened and path.startswith("/static-offline-docs/")):
            return None
        key = _presented(headers_of(scope))
        if key is None:
            detail = "an API key is needed: Authorization: Bearer …, or X-API-Key"
            return problem(request_id, 401, "Unauthorized", detail, headers={"WWW-Authenticate": "Bearer"})
        name = scope["state"]["key"] = keys.holder(key) if key else None
        if name is None:
            log(logging.WARNING, "key refused", request_id=request_id, client=_host(scope))
            return problem(request_id, 403, "Forbidden", "there is no such API key")
        return None

    return gate


def _presented(headers: Mapping[bytes, bytes]) -> str | None:
    scheme, _, key = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    if scheme.lower() == "bearer":
        return key.strip()
    return headers[b"x-api-key"].decode("latin-1").strip() if b"x-api-key" in headers else None


def holder(scope: Scope) -> str | None:
    """Whose key came with a request, where keys are on."""
    name: str | None = scope["state"].get("key")
    return name


def caller(scope: Scope) -> str:
    """Whose request it is: the holder of its key, or its address, of IPv6 the network that one customer has."""
    if name := holder(scope):
        return f"key {name}"
    address = _host(scope) or ""
    with contextlib.suppress(ValueError):
        parsed = ip_address(address)
        parsed = getattr(parsed, "ipv4_mapped", None) or parsed  # as proxies write it that listen on both
        return str(ip_network((parsed, 64), strict=False) if parsed.version == 6 else parsed)
    return address


def _host(scope: Scope) -> str | None:
    return scope["client"][0] if scope.get("client") else None


def log_loaded(keys: Keys) -> None:
    """Log whom there are keys for."""
    log(logging.INFO if keys.names else logging.WARNING, "keys loaded", names=keys.names)


async def keep_fresh(keys: Keys) -> None:
    """Follow changes of the file for as long as the server runs."""
    while True:
        await asyncio.sleep(_LOOK_EVERY_S)
        try:
            if await asyncio.to_thread(keys.refresh):
                log_loaded(keys)
        except KeysError as error:
            log(logging.ERROR, "keys not loaded, the old ones stay", reason=str(error))
        except Exception as error:
            log_exception("keys not loaded, the old ones stay", error)
