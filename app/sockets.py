"""Sockets to listen on."""

import socket
from ipaddress import ip_address


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; on `::`, on IPv4 as well."""
    return socket.create_server((host, port), family=_family(host), backlog=2048, dualstack_ipv6=_is_dual_stack(host))


def bind_shared(host: str, port: int) -> socket.socket:
    """Return a socket that shares its port with other workers (SO_REUSEPORT) and does not listen yet."""
    shared = socket.socket(_family(host))
    shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if shared.family == socket.AF_INET6:
        shared.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(not _is_dual_stack(host)))
    shared.bind((host, port))
    return shared


def address_of(listener: socket.socket, *, tls: bool) -> str:
    """Return the URL of a socket."""
    host, port = listener.getsockname()[:2]
    return f"{'https' if tls else 'http'}://{authority(host, port)}"


def authority(host: str, port: int) -> str:
    """Return the host and the port as in a URL (RFC 3986, section 3.2.2, and for the zone RFC 6874)."""
    return f"[{host.replace('%', '%25')}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _is_dual_stack(host: str) -> bool:
    """Return whether a socket for this host accepts IPv4, too: only for `::`, in any spelling."""
    try:
        return _family(host) == socket.AF_INET6 and ip_address(host).is_unspecified and socket.has_dualstack_ipv6()
    except ValueError:
        return False
