"""The context of a request: one typed object in the `state` of its ASGI scope."""

import functools
import logging
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_address

from starlette.types import Scope

from ..access import Quota
from ..logs import log_fields
from ..metrics import METHODS
from ..trace_context import Trace

Header = tuple[bytes, bytes]

PROBES = ("/livez", "/readyz", "/healthz")
# Also those of the Open Inference Protocol.
ALL_PROBES = (
    *PROBES,
    "/v2/health/live",
    "/v2/health/ready",
    "/v2/models/{name}/ready",
    "/v2/models/{name}/versions/{version}/ready",
)
# These paths are polled. Their access lines are logged at the debug level, and they have no traces.
POLLED = frozenset({*ALL_PROBES, "/metrics"})
QUOTA_HEADERS = ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")
# No page may show ours in a frame or guess the type of a response, and links of the docs send no referrer.
_SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)
_TIMINGS = b"tokenize;dur=%.2f, queue;dur=%.2f, infer;dur=%.2f, total;dur=%.2f"
_MAX_ADDRESS_CHARS = 45
# Keys in the state of a scope, which the server sets:
PEER = "peer"  # the address at the other end of the connection: `client` is what a trusted proxy says it is
REFUSED = "refused"  # the status with which the server itself has responded; it has logged and counted the request
BUSY = "busy"  # a function for a stream, which says with it whether it has work or waits for its client
BROKEN = "broken"  # status and detail: why the rest of the body cannot be read, although the response has begun
# A key that the application sets: it limits the time of this body itself.
UPLOAD = "upload"
_CLIENT_LEFT = 499  # nginx's status for a client that left before the response
NO_PATH = ""  # the path of a request whose own path is none that we could have
# Our paths need no escapes, so a path with one has another meaning for some proxy: %2F, %0A, %2e%2e, %252F. nginx has
# the same expression, in http.conf.
_PATH = re.compile(r"(/(?!\.\.?(/|\Z))[\w.~-]+)*/?", re.ASCII)


@dataclass(slots=True)
class RequestContext:
    """One request: its id, its headers and what each layer adds to it."""

    request_id: str
    started_s: float
    path: str  # below the root path, or NO_PATH
    headers: dict[bytes, bytes]  # lower-case names; of a repeated header the first value
    client: str | None  # IP address, after trusted proxies
    key_name: str | None = None  # of the API key that came with the request
    quota: Quota | None = None
    timings_ms: tuple[float, float, float] | None = None  # tokenize, queue, infer
    model: str = ""  # `ModelInfo.id` of the model whose predictions the response has
    status: int | None = None  # once the response has started
    lines: dict[str, object] = field(default_factory=dict)  # of a stream, for the log
    content_policy: bytes = b"frame-ancestors 'none'"
    route: str | None = None  # of the path, if it is one of ours, such as /v2/models/{name}
    has_plain_errors: Callable[[str, str], bool] = lambda _method, _path: False  # the client expects {"error": "…"}
    trace: Trace | None = None  # while tracing is on

    @property
    def route_or_path(self) -> str:
        """What access rules are about."""
        return self.route or self.path

    def response_headers(self) -> list[Header]:
        """Return the headers that every response has."""
        headers = [
            *_SECURITY_HEADERS,
            (b"content-security-policy", self.content_policy),
            (b"x-request-id", self.request_id.encode()),
        ]
        if quota := self.quota:
            values = (quota.limit, quota.remaining, quota.reset_s)
            headers += [
                (name.lower().encode(), b"%d" % value) for name, value in zip(QUOTA_HEADERS, values, strict=True)
            ]
        if self.model:
            headers.append((b"x-model", self.model.encode()))
        if self.trace:
            headers.append((b"traceresponse", self.trace.response_header))
        if self.timings_ms:
            headers.append((b"server-timing", _TIMINGS % (*self.timings_ms, self.elapsed_s * 1000)))
        return headers

    @property
    def elapsed_s(self) -> float:
        return time.perf_counter() - self.started_s

    @property
    def final_status(self) -> int:
        return self.status or _CLIENT_LEFT

    def log(self, method: str, path: str) -> None:
        """Write the access line. `path` must be one of ours or "(none)": clients put texts into paths."""
        fields: dict[str, object] = {
            "method": method if method in METHODS else "(other)",
            "path": path,
            "status": self.final_status,
            "ms": round(self.elapsed_s * 1000, 2),
        }
        if self.model:
            fields["model"] = self.model
        if self.timings_ms:
            tokenize_ms, queue_ms, infer_ms = self.timings_ms
            fields["tokenize_ms"] = round(tokenize_ms, 2)
            fields["queue_ms"] = round(queue_ms, 2)
            fields["infer_ms"] = round(infer_ms, 2)
        if self.key_name:
            fields["key"] = self.key_name
        fields |= self.lines
        fields["request_id"] = self.request_id
        fields["client"] = self.client
        log_fields(logging.DEBUG if path in POLLED else logging.INFO, "request", fields)


def begin(scope: Scope) -> RequestContext:
    """Create the context of a new request and put it into its scope."""
    headers = dict(reversed(scope["headers"]))
    client = scope["client"][0] if scope.get("client") else None
    # A trusted proxy may pass on an X-Forwarded-For header with arbitrary content.
    if client is not None and not (len(client) <= _MAX_ADDRESS_CHARS and _is_address(client)):
        client = scope["client"] = None
    path = below(scope.get("root_path", ""), scope["path"]) if _is_plain(scope) else NO_PATH
    context = RequestContext(_request_id(headers.get(b"x-request-id")), time.perf_counter(), path, headers, client)
    scope.setdefault("state", {})["context"] = context
    return context


def context_of(scope: Scope) -> RequestContext:
    """Return the context that `begin` created."""
    context: RequestContext = scope["state"]["context"]
    return context


def sticky_id(context: RequestContext) -> str:
    """Return what decides which version of a model answers: the API key or, without keys, the id of the request."""
    return f"key {context.key_name}" if context.key_name else f"request {context.request_id}"


def below(prefix: str, path: str) -> str:
    """Return what follows the prefix in a path; the whole path if it does not begin with it."""
    return path.removeprefix(prefix) if path.startswith(f"{prefix}/") else path


def _is_plain(scope: Scope) -> bool:
    """Return whether the path has only segments of letters, digits and - . _ ~, and none that is empty, `.` or `..`."""
    return b"%" not in (scope.get("raw_path") or b"") and _PATH.fullmatch(scope["path"]) is not None


def new_id() -> str:
    return f"{random.getrandbits(64):016x}"  # it only tells requests apart; it is not a secret


@functools.lru_cache(1024)
def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return "%" not in host  # anything may follow it


def _request_id(given: bytes | None) -> str:
    """Return the client's id if it is 1 to 128 visible ASCII characters, otherwise a new one."""
    given = given and given.strip()
    if given and len(given) <= 128 and all(ord("!") <= byte <= ord("~") for byte in given):
        return given.decode("ascii")
    return new_id()
