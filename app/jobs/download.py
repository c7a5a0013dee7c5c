"""Reads a file from a web site: over HTTPS, from a public address, and without following redirects."""

import http.client
import socket
import ssl
from collections.abc import Iterator
from contextlib import closing
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import quote, urlsplit

from ..errors import InvalidInput, TableError

_TIMEOUT_S = 30.0
_PIECE_BYTES = 256 * 1024
_WITH_IPV4 = (IPv6Network("::/96"), IPv6Network("64:ff9b::/96"))  # of old systems, and of NAT64 (RFC 6052)


class _PinnedConnection(http.client.HTTPSConnection):
    """Connects to an address that has been checked: a name could lead to another one the next time."""

    def __init__(self, host: str, port: int, address: str) -> None:
        self._context = ssl.create_default_context()
        super().__init__(host, port, timeout=_TIMEOUT_S, context=self._context)
        self._address = address

    def connect(self) -> None:
        sock = socket.create_connection((self._address, self.port), self.timeout)
        self.sock = self._context.wrap_socket(sock, server_hostname=self.host)


def download(url: str, max_bytes: int) -> Iterator[bytes]:
    """Yield the bytes of a file.

    Raises `InvalidInput` for an address that is not public, for a redirect, and for more than `max_bytes`; `OSError` if
    the server fails.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 443
    address = _public_address(host, port)
    with closing(_PinnedConnection(host, port, address)) as connection:
        try:
            path = quote(parts.path, safe="%/:@!$&'()*+,;=~")  # people write spaces and letters as they are
            connection.request("GET", path, headers={"Accept-Encoding": "identity"})
            response = connection.getresponse()
            if response.status in (404, 410):
                raise TableError(f"{url}: there is no such file")
            if 300 <= response.status < 500:
                raise InvalidInput(f"the server of the source answered {response.status}; redirects are not followed")
            if response.status != 200:
                raise OSError(0, f"the server of the source answered {response.status}")
            size = 0
            while piece := response.read1(_PIECE_BYTES):
                size += len(piece)
                if size > max_bytes:
                    raise InvalidInput(f"the source is larger than {max_bytes} bytes")
                yield piece
            if response.length:  # the connection ended too early
                raise OSError(0, "the source was cut off")
        except http.client.HTTPException as error:
            raise OSError(0, f"the server of the source: {type(error).__name__}") from None


def _public_address(host: str, port: int) -> str:
    """Return an address of `host`; all of them must be public."""
    found = {str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    if not all(_is_public(address) for address in found):
        raise InvalidInput("the server of the source has a private address")
    return min(found)


def _is_public(address: str) -> bool:
    parsed = ip_address(address.partition("%")[0])
    if isinstance(parsed, IPv6Address):
        parsed = _embedded(parsed) or parsed
    return parsed.is_global and not parsed.is_multicast


def _embedded(address: IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address to which a gateway or the system passes on what is sent to an IPv6 address."""
    if any(address in network for network in _WITH_IPV4):
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour
