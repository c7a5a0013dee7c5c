"""What every request has, whichever way it is answered: an id, some headers, timings, a line in the log.

All of it is kept in the `state` of the request's ASGI scope.
"""

import functools
import logging
import random
import time
from ipaddress import ip_address
from typing import Any

from starlette.types import Scope

from ..logs import log_fields
from ..metrics import METHODS

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
_LONGEST_ADDRESS = 45  # characters; what is longer is not worth a place in the cache of `_is_address`
STATUS = "status"  # in the state, once the answer has begun
TIMINGS = "timings"  # of a prediction: milliseconds to tokenise, in the queue, in the model
_TIMINGS = b"tokenize;dur=%.2f, queue;dur=%.2f, infer;dur=%.2f, total;dur=%.2f"

Header = tuple[bytes, bytes]


def begin(scope: Scope) -> None:
    """A request has come. Its time runs from here, also when this is said again of one that was let go the long way."""
    if scope.get("client") and not (len(scope["client"][0]) <= _LONGEST_ADDRESS and _is_address(scope["client"][0])):
        scope["client"] = None  # a proxy that is trusted has passed on what somebody wrote
    state: dict[str, Any] = scope.setdefault("state", {})
    if "id" in state:
        return
    state["started_s"] = time.perf_counter()
    state["id"] = _request_id(headers_of(scope).get(b"x-request-id"))


def common_headers(scope: Scope) -> list[Header]:
    """What every answer has beside its own headers."""
    state = scope["state"]
    headers = [*_SECURITY_HEADERS, (b"x-request-id", state["id"].encode())]
    if quota := state.get("quota"):
        values = (quota.limit, quota.remaining, quota.reset_s)
        headers += [(name.lower().encode(), b"%d" % value) for name, value in zip(QUOTA_HEADERS, values, strict=True)]
    if timings := state.get(TIMINGS):
        total_ms = (time.perf_counter() - state["started_s"]) * 1000
        headers.append((b"server-timing", _TIMINGS % (*timings, total_ms)))
    return headers


def end(scope: Scope, path: str) -> None:
    """Write the line of a request that was answered. `path` is one of ours, or "(none)"."""
    level = logging.DEBUG if path in _QUIET else logging.INFO
    state = scope["state"]
    fields = {
        "method": scope["method"] if scope["method"] in METHODS else "(other)",
        "path": path,
        "status": status_of(scope),
        "ms": round((time.perf_counter() - state["started_s"]) * 1000, 2),
    }
    if timings := state.get(TIMINGS):
        tokenize_ms, queue_ms, infer_ms = timings
        fields["tokenize_ms"] = round(tokenize_ms, 2)
        fields["queue_ms"] = round(queue_ms, 2)
        fields["infer_ms"] = round(infer_ms, 2)
    if key := state.get("key"):
        fields["key"] = key
    fields["request_id"] = state["id"]
    fields["client"] = scope["client"][0] if scope.get("client") else None
    log_fields(level, "request", fields)


def headers_of(scope: Scope) -> dict[bytes, bytes]:
    """By name, the first of each, as starlette has it; which looks through all of them for every one that is asked."""
    state: dict[str, Any] = scope["state"]
    if "headers" not in state:
        state["headers"] = dict(reversed(scope["headers"]))
    headers: dict[bytes, bytes] = state["headers"]
    return headers


def status_of(scope: Scope) -> int:
    """The status that a request was answered with; nginx's 499 when its client had left before."""
    status: int = scope["state"].get(STATUS, 499)
    return status


def new_id() -> str:
    """An id for a request."""
    return f"{random.getrandbits(64):016x}"  # tells requests apart, guards nothing


@functools.lru_cache(1024)
def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return "%" not in host  # behind which anything may stand


def _request_id(given: bytes | None) -> str:
    """The caller's id when it is 1 to 128 visible ASCII characters, one of our own otherwise."""
    given = given and given.strip()
    if given and len(given) <= 128 and all(ord("!") <= byte <= ord("~") for byte in given):
        return given.decode("ascii")
    return new_id()
