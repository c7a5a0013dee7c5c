"""Who is turned away whatever is in the body: each gate is a function that is asked whichever way a request comes."""

import re
from collections.abc import Callable, Collection, Sequence

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from .context import PROBES, headers_of
from .errors import problem

Gate = Callable[[Scope], Response | None]

_PORT = re.compile(r":\d+$")


class Gates:
    """Lets a request pass that no gate has an answer to, in plain ASGI."""

    def __init__(self, app: ASGIApp, gates: Sequence[Gate]) -> None:
        self._app = app
        self._gates = gates

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        refused = ask(self._gates, scope) if scope["type"] == "http" else None
        await (refused or self._app)(scope, receive, send)


def ask(gates: Sequence[Gate], scope: Scope) -> Response | None:
    """Return the answer of the first gate that has one."""
    for gate in gates:
        if (refused := gate(scope)) is not None:
            return refused
    return None


def header_limit(max_header_bytes: int) -> Gate:
    """431 to headers that are larger together.

    The HTTP parser has no limit, and has read them by then: what bounds the memory is a proxy in front. This makes both
    answer alike.
    """

    def gate(scope: Scope) -> Response | None:
        if sum([len(name) + len(value) for name, value in scope["headers"]]) <= max_header_bytes:
            return None
        detail = f"the headers are larger than {max_header_bytes} bytes together"
        return problem(scope["state"]["id"], 431, "Request Header Fields Too Large", detail)

    return gate


def allowed_hosts(hosts: Collection[str]) -> Gate:
    """400 to a `Host` that is none of `hosts`, or to several.

    A page may have had its own name lead here (DNS rebinding).
    """
    known = frozenset(host.lower() for host in hosts)

    def gate(scope: Scope) -> Response | None:
        host = headers_of(scope).get(b"host", b"").decode("latin-1").lower()
        given = sum(name == b"host" for name, _ in scope["headers"])
        # Probes are asked by address.
        if scope["path"] in PROBES or (given == 1 and (host in known or _PORT.sub("", host) in known)):
            return None
        return problem(scope["state"]["id"], 400, "Bad Request", "the server does not answer to this Host")

    return gate
