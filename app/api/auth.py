"""Authentication: an API key or a token in the headers, checked before the body is read."""

import asyncio
import contextlib
import functools
import logging
from collections.abc import Mapping
from ipaddress import ip_address, ip_network

from starlette.responses import Response
from starlette.types import Scope as AsgiScope

from ..access import Credentials, Refused, Scope, Unavailable
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
_LATER = {"Retry-After": "10"}
_INVALID_TOKEN = {"WWW-Authenticate": 'Bearer error="invalid_token"'}


def authentication(credentials: Credentials, *, protect_information: bool, refusals: Refusals | None = None) -> Check:
    """Require a key or a token, as `Authorization: Bearer` or `X-API-Key`, and note whose it is.

    401 without one, or with a token that is not valid, as RFC 6750 says; 403 with a key that is not valid, or with one
    of either that is for something else. Probes need none, and information does only if `protect_information`.
    """
    refusals = refusals or Refusals()

    def check(scope: AsgiScope, context: RequestContext) -> Response | None:
        if is_public(scope["method"], context.route_or_path, protect_information=protect_information):
            return None
        presented = _presented(context.headers)
        if presented is None:
            detail = f"{credentials.kinds} is required: Authorization: Bearer …, or X-API-Key"
            return problem(context.request_id, 401, "Unauthorized", detail, headers={"WWW-Authenticate": "Bearer"})
        try:
            context.key_name = credentials.check(presented, _scope_of(context.route_or_path)).name
        except Unavailable as error:
            return problem(context.request_id, 503, "Service Unavailable", str(error), headers=_LATER)
        except Refused as error:
            refusals.add(context, error.name, str(error))
            if error.can_be_renewed:
                return problem(context.request_id, 401, "Unauthorized", str(error), headers=_INVALID_TOKEN)
            return problem(context.request_id, 403, "Forbidden", str(error))
        return None

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


def log_loaded(credentials: Credentials) -> None:
    """Log which keys are accepted, and which keys of the identity provider."""
    if credentials.keys:
        names = credentials.keys.names
        log(logging.INFO if names else logging.WARNING, "keys loaded", names=names)
    if credentials.tokens and credentials.tokens.key_ids:
        log(logging.INFO, "identity provider loaded", keys=credentials.tokens.key_ids)


async def watch_keys(credentials: Credentials, refusals: Refusals) -> None:
    """Reload keys when they change, and report refused ones, as long as the server runs."""
    sources = [
        (source, event)
        for source, event in ((credentials.keys, "keys"), (credentials.tokens, "identity provider"))
        if source
    ]
    while True:
        refusals.report()
        for source, name in sources:
            event = f"{name} not loaded, old keys stay valid"
            try:
                if await asyncio.to_thread(source.refresh):
                    log_loaded(credentials)
            except KeysError as error:
                log(logging.ERROR, event, reason=str(error))
            except Exception as error:
                log_exception(event, error)
        await asyncio.sleep(_REFRESH_EVERY_S)
