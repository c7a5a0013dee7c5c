"""Sockets to listen on."""

import errno
import socket
import stat
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path

_UNIX = "unix:"
_BACKLOG = 2048


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; on `::`, on IPv4 as well. The host `unix:PATH` is a socket in the file system."""
    if is_path(host):
        return _listen_at(host.removeprefix(_UNIX))
    return socket.create_server(
        (host, port), family=_family(host), backlog=_BACKLOG, dualstack_ipv6=_is_dual_stack(host)
    )


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
    if listener.family == socket.AF_UNIX:
        return f"{_UNIX}{listener.getsockname()}"
    host, port = listener.getsockname()[:2]
    return f"{'https' if tls else 'http'}://{authority(host, port)}"


def authority(host: str, port: int) -> str:
    """Return the host and the port as in a URL (RFC 3986, section 3.2.2, and for the zone RFC 6874)."""
    if is_path(host):
        return host
    return f"[{host.replace('%', '%25')}]:{port}" if ":" in host else f"{host}:{port}"


def is_path(host: str) -> bool:
    """Return whether a host is a socket in the file system."""
    return host.startswith(_UNIX)


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach a host."""
    if is_path(host):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _listen_at(path: str) -> socket.socket:
    """Listen at a path, for the user and the group of this process. A socket that nobody listens at is replaced."""
    file = Path(path)
    with suppress(FileNotFoundError), socket.socket(socket.AF_UNIX) as other:
        if stat.S_ISSOCK(file.stat().st_mode) and other.connect_ex(path) == errno.ECONNREFUSED:
            file.unlink()
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(path)
        file.chmod(0o660)
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _is_dual_stack(host: str) -> bool:
    """Return whether a socket for this host accepts IPv4, too: only for `::`, in any spelling."""
    try:
        return _family(host) == socket.AF_INET6 and ip_address(host).is_unspecified and socket.has_dualstack_ipv6()
    except ValueError:
        return False
