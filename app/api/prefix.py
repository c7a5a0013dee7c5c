"""The path prefix below which a proxy serves the API."""

import functools
from collections.abc import Collection, Container
from ipaddress import ip_address, ip_network

from starlette.types import Scope

from ..addresses import parse_prefix
from .context import PEER, RequestContext, below

_HEADER = b"x-forwarded-prefix"


class ProxyPrefix:
    """Finds the prefix of a request: that of the trusted proxies in front of us, otherwise the configured one."""

    def __init__(self, configured: str, trusted_proxies: Collection[str]) -> None:
        self._configured = configured
        networks = [ip_network(proxy) for proxy in trusted_proxies]

        @functools.lru_cache(1024)
        def trusts(address: str | None) -> bool:
            try:
                parsed = ip_address(address or "")
            except ValueError:
                return False
            parsed = getattr(parsed, "ipv4_mapped", None) or parsed  # a socket for both families has such addresses
            return any(parsed in network for network in networks)

        self._trusts = trusts

    def apply(self, scope: Scope, context: RequestContext, paths: Container[str]) -> None:
        """Remove the prefix from the context's path, if the proxy has not, and note it as ASGI does: in `root_path`.

        `paths` are our own: a request for one of them is not below a prefix of the same name.
        """
        if scope.get("root_path"):  # the server, or an application that this one is mounted in, has set it
            return
        prefix = (self._forwarded(scope) if _HEADER in context.headers else "") or self._configured
        if prefix:
            if context.path not in paths:
                context.path = "/" if context.path == prefix else below(prefix, context.path)
            scope["root_path"], scope["path"] = prefix, prefix + context.path

    def _forwarded(self, scope: Scope) -> str:
        """Return the prefixes in the headers one after the other, as each proxy adds its own; "" if one is invalid."""
        client = scope["client"][0] if scope.get("client") else None
        if not self._trusts(scope["state"].get(PEER, client)):
            return ""
        value = b",".join(value for name, value in scope["headers"] if name == _HEADER).decode("latin-1")
        try:
            return "".join(parse_prefix(prefix.strip()) for prefix in value.split(","))
        except ValueError:
            return ""
