"""Checks that need only the headers of a request. Each returns a response that refuses it, or None."""

from collections.abc import Callable, Collection

from starlette.responses import Response
from starlette.types import Scope

from ..addresses import Host, parse_host
from .context import ALL_PROBES, RequestContext
from .errors import problem

Check = Callable[[Scope, RequestContext], Response | None]

_DEFAULT_PORTS = (80, 443)


def header_limit(max_header_bytes: int) -> Check:
    """Refuse a request with 431 if its URL and headers are larger than this in total."""

    def check(scope: Scope, context: RequestContext) -> Response | None:
        url_bytes = len(scope["path"]) + len(scope["query_string"])
        if url_bytes + sum([len(name) + len(value) for name, value in scope["headers"]]) <= max_header_bytes:
            return None
        detail = f"the headers are larger than {max_header_bytes} bytes in total"
        return problem(context.request_id, 431, "Request Header Fields Too Large", detail)

    return check


def one_host(scope: Scope, context: RequestContext) -> Response | None:
    """Refuse a request without a Host header, or with two, with 400 (RFC 9112, section 3.2)."""
    hosts = [name for name, _ in scope["headers"]].count(b"host")
    if hosts == 1 or (hosts == 0 and scope["http_version"] == "1.0"):
        return None
    detail, headers = "the request needs exactly one Host header", {"Connection": "close"}
    return problem(context.request_id, 400, "Bad Request", detail, headers=headers)


def allowed_hosts(hosts: Collection[str]) -> Check:
    """Refuse any other `Host` with 400: the name of another site may resolve to this server (DNS rebinding).

    A host that is listed without a port may have any. One that is listed with a default port may lack it, because
    clients omit it.
    """
    allowed = {parse_host(host) for host in hosts}

    def is_allowed(header: str) -> bool:
        try:
            name, port = parse_host(header)
        except ValueError:
            return False
        ports = (None, *_DEFAULT_PORTS) if port is None else (None, port)
        return any(Host(name, each) in allowed for each in ports)

    def check(_scope: Scope, context: RequestContext) -> Response | None:
        # Probes use the server's address.
        if context.route_or_path in ALL_PROBES or is_allowed(context.headers.get(b"host", b"").decode("latin-1")):
            return None
        return problem(context.request_id, 400, "Bad Request", "this Host is not allowed")

    return check
