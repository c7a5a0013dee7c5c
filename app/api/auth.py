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
from .context import ALL_PROBES, RequestContext
from .errors import problem
from .refusals import Refusals

_INFORMATION = (
    "/",
    "/info",
    "/metrics",
    "/openapi.json",
    "/docs",
    "/static-offline-docs",
    "/v2",
    "/v2/models/{name}",
    "/v2/models/{name}/versions/{version}",
)
_ASSETS = ("/static-offline-docs/", "/page/")  # of the pages at /docs and /
# The scope that a key needs for a route. For other routes, any key that is valid will do.
_SCOPES: Mapping[str, Scope] = dict.fromkeys(
    (
        "/",
        "/predict",
        "/predict/batch",
        "/predict/stream",
        "/models/{name}/predict",
        "/models/{name}/predict/batch",
        "/feedback",
        "/v2/models/{name}/infer",
        "/v2/models/{name}/versions/{version}/infer",
    ),
    "predict",
)
_REFRESH_EVERY_S = 2.0


def authentication(keys: Keys, *, protect_information: bool, refusals: Refusals | None = None) -> Check:
    """Require a key, as `Authorization: Bearer` or `X-API-Key`, and note its name.

    401 without one; 403 with one that is wrong, has expired or is for something else. Probes need none, and information
    does only if `protect_information`.
    """
    refusals = refusals or Refusals()

    def check(scope: AsgiScope, context: RequestContext) -> Response | None:
        if is_public(scope["method"], context.route_or_path, protect_information=protect_information):
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
        elif (needed := _scope_of(context.route_or_path)) and needed not in key.scopes:
            detail = f"this API key does not have the scope {needed}"
        else:
            context.key_name = key.name
            return None
        refusals.add(context, key.name if key else None, detail)
        return problem(context.request_id, 403, "Forbidden", detail)

    return check


def _scope_of(route: str) -> Scope | None:
    return "jobs" if route == "/jobs" or route.startswith("/jobs/") else _SCOPES.get(route)


def is_public(method: str, route: str, *, protect_information: bool = False) -> bool:
    """Return whether a request for a route, or for the path of a file of a page, needs no key."""
    if route == "/" and method == "POST":  # Hugging Face's protocol predicts where the page is
        return False
    if route in ALL_PROBES:
        return True
    return not protect_information and (route in _INFORMATION or route.startswith(_ASSETS))


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
