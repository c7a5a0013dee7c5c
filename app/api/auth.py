"""Authentication: an API key in the headers, checked before the body is read."""

import asyncio
import contextlib
import functools
import logging
from collections.abc import Mapping
from ipaddress import ip_address, ip_network

from starlette.responses import Response
from starlette.types import Scope

from ..access import Keys
from ..errors import KeysError
from ..logs import log, log_exception
from .checks import Check
from .context import PROBES, RequestContext
from .errors import problem

_INFORMATION = ("/", "/info", "/metrics", "/openapi.json", "/docs", "/static-offline-docs")
_REFRESH_EVERY_S = 2.0


def authentication(keys: Keys, *, protect_information: bool) -> Check:
    """Require a key, as `Authorization: Bearer` or `X-API-Key`, and note its name.

    401 without one, 403 with a wrong one. Probes need none, and information does only if `protect_information`.
    """

    def check(_scope: Scope, context: RequestContext) -> Response | None:
        if is_public(context.path, protect_information=protect_information):
            return None
        key = _presented(context.headers)
        if key is None:
            detail = "an API key is required: Authorization: Bearer …, or X-API-Key"
            return problem(context.request_id, 401, "Unauthorized", detail, headers={"WWW-Authenticate": "Bearer"})
        context.key_name = keys.holder(key) if key else None
        if context.key_name is None:
            log(logging.WARNING, "key refused", request_id=context.request_id, client=context.client)
            return problem(context.request_id, 403, "Forbidden", "this API key is not valid")
        return None

    return check


def public_paths(*, protect_information: bool) -> tuple[str, ...]:
    """Return the paths that need no key."""
    return PROBES if protect_information else (*PROBES, *_INFORMATION)


def is_public(path: str, *, protect_information: bool = False) -> bool:
    """Return whether a path needs no key."""
    public = public_paths(protect_information=protect_information)
    return path in public or ("/docs" in public and path.startswith("/static-offline-docs/"))


def _presented(headers: Mapping[bytes, bytes]) -> str | None:
    scheme, _, key = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    if scheme.lower() == "bearer":
        return key.strip()
    return headers[b"x-api-key"].decode("latin-1").strip() if b"x-api-key" in headers else None


def caller_of(context: RequestContext) -> str:
    """Return the client that rate limits and fairness count: the name of the key, or the address or network."""
    return f"key {context.key_name}" if context.key_name else _network_of(context.client or "")


@functools.lru_cache(1024)
def _network_of(address: str) -> str:
    """Return the /64 network of an IPv6 address, and other addresses unchanged."""
    with contextlib.suppress(ValueError):
        parsed = ip_address(address)
        parsed = getattr(parsed, "ipv4_mapped", None) or parsed  # a proxy that listens on both writes IPv4 like this
        return str(ip_network((parsed, 64), strict=False) if parsed.version == 6 else parsed)
    return address


def log_loaded(keys: Keys) -> None:
    log(logging.INFO if keys.names else logging.WARNING, "keys loaded", names=keys.names)


async def watch_keys(keys: Keys) -> None:
    """Reload the keys when their file changes, as long as the server runs."""
    while True:
        await asyncio.sleep(_REFRESH_EVERY_S)
        try:
            if await asyncio.to_thread(keys.refresh):
                log_loaded(keys)
        except KeysError as error:
            log(logging.ERROR, "keys not loaded, old keys stay valid", reason=str(error))
        except Exception as error:
            log_exception("keys not loaded, old keys stay valid", error)
