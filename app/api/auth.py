"""Authentication: an API key in the headers, checked before the body is read."""

import asyncio
import contextlib
import functools
import logging
from collections.abc import Mapping
from ipaddress import ip_address, ip_network

from starlette.responses import Response
from starlette.types import Scope as AsgiScope

from ..access import Keys, Scope
from ..errors import KeysError
from ..logs import log, log_exception
from .checks import Check
from .context import PROBES, RequestContext
from .errors import problem
from .refusals import Refusals

_INFORMATION = ("/", "/info", "/metrics", "/openapi.json", "/docs", "/static-offline-docs")
_ASSETS = ("/static-offline-docs/", "/page/")  # of the pages at /docs and /
# The scope that a key needs for a path. For other paths, any key that is valid will do.
_SCOPES: Mapping[str, Scope] = {"/predict": "predict", "/predict/batch": "predict"}
_REFRESH_EVERY_S = 2.0


def authentication(keys: Keys, *, protect_information: bool, refusals: Refusals | None = None) -> Check:
    """Require a key, as `Authorization: Bearer` or `X-API-Key`, and note its name.

    401 without one; 403 with one that is wrong, has expired or is for something else. Probes need none, and information
    does only if `protect_information`.
    """
    refusals = refusals or Refusals()

    def check(_scope: AsgiScope, context: RequestContext) -> Response | None:
        path = context.path
        if is_public(path, protect_information=protect_information):
            return None
        presented = _presented(context.headers)
        if presented is None:
            detail = "an API key is required: Authorization: Bearer …, or X-API-Key"
            return problem(context.request_id, 401, "Unauthorized", detail, headers={"WWW-Authenticate": "Bearer"})
        key = keys.find(presented)
        if key is None:
            detail = "this API key is not valid"
        elif key.has_expired():
            detail = "this API key has expired"
        elif (needed := _scope_of(path)) and needed not in key.scopes:
            detail = f"this API key does not have the scope {needed}"
        else:
            context.key_name = key.name
            return None
        refusals.add(context, key.name if key else None, detail)
        return problem(context.request_id, 403, "Forbidden", detail)

    return check


def _scope_of(path: str) -> Scope | None:
    return "jobs" if path == "/jobs" or path.startswith("/jobs/") else _SCOPES.get(path)


def public_paths(*, protect_information: bool) -> tuple[str, ...]:
    """Return the paths that need no key."""
    return PROBES if protect_information else (*PROBES, *_INFORMATION)


def is_public(path: str, *, protect_information: bool = False) -> bool:
    """Return whether a path needs no key."""
    public = public_paths(protect_information=protect_information)
    return path in public or ("/docs" in public and path.startswith(_ASSETS))


def _presented(headers: Mapping[bytes, bytes]) -> str | None:
    scheme, _, key = headers.get(b"authorization", b"").partition(b" ")
    if scheme.lower() != b"bearer":
        if b"x-api-key" not in headers:
            return None
        key = headers[b"x-api-key"]
    # Only the white space of HTTP. Python's `str.strip` would also remove other characters, such as U+00A0.
    return key.strip(b" \t").decode("latin-1")


def jobs_owner(context: RequestContext) -> str:
    """Return whose jobs a request may see: those of its key. Without keys, all callers see the same ones."""
    return f"key:{context.key_name}" if context.key_name else "all"


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


async def watch_keys(keys: Keys, refusals: Refusals) -> None:
    """Reload the keys when their file changes, and report refused keys, as long as the server runs."""
    while True:
        await asyncio.sleep(_REFRESH_EVERY_S)
        refusals.report()
        try:
            if await asyncio.to_thread(keys.refresh):
                log_loaded(keys)
        except KeysError as error:
            log(logging.ERROR, "keys not loaded, old keys stay valid", reason=str(error))
        except Exception as error:
            log_exception("keys not loaded, old keys stay valid", error)
