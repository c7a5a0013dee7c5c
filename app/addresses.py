"""Hosts and path prefixes, as settings and headers state them."""

import re
from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Address, ip_network
from typing import NamedTuple

_HOST = re.compile(r"(?P<name>\w[\w.-]*?|\[(?P<ipv6>[\da-f:.]+)\])\.?(:(?P<port>\d{1,5}))?", re.ASCII | re.IGNORECASE)
_SEGMENT = r"(?!\.\.?(/|$))[\w.~-]+"
_PREFIX = re.compile(rf"/?(?P<path>{_SEGMENT}(/{_SEGMENT})*)/?|/?", re.ASCII)


class Host(NamedTuple):
    """A host and its port. Different spellings of the same name or address are equal."""

    name: str
    port: int | None


def parse_host(value: str) -> Host:
    """Parse `name` or `name:port`; an IPv6 address may lack its brackets. Raises `ValueError`."""
    bracketed = f"[{value}]" if value.count(":") > 1 and not value.startswith("[") else value
    match = _HOST.fullmatch(bracketed)
    port = int(match["port"]) if match and match["port"] else None
    try:
        if match and (port is None or port <= 65535):
            return Host(f"[{IPv6Address(match['ipv6'])}]" if match["ipv6"] else match["name"].lower(), port)
    except ValueError:
        pass
    raise ValueError(f"{value!r} is not a host; write it as in the Host header, without scheme or path")


def parse_prefix(value: str) -> str:
    """Return the path `a/b`, with or without slashes around it, as `/a/b`, and `/` as "". Raises `ValueError`.

    Only characters that need no escaping in paths, headers, HTML and JSON are allowed.
    """
    match = _PREFIX.fullmatch(value)
    if not match:
        raise ValueError("expected a path such as /sentiment, of letters, digits, and the characters - . _ ~")
    return f"/{match['path']}" if match["path"] else ""


def mapped_to_ipv6(networks: Iterable[str]) -> list[str]:
    """Return the IPv4 networks among these as a proxy writes them that listens on both: `::ffff:10.0.0.0/104`."""
    parsed = map(ip_network, networks)
    return [f"::ffff:{each.network_address}/{96 + each.prefixlen}" for each in parsed if isinstance(each, IPv4Network)]
