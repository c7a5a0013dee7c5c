"""The head of a request: what it must say, and how it would be without its wish for another protocol."""

from collections.abc import Iterable, Sequence

from httptools import HttpRequestParser

from .context import Header


class NoHost(Exception):
    """A request does not say whom it is for, or says it twice."""


def check_host(headers: Sequence[Header], version: str) -> None:
    """Raise `NoHost` where RFC 9112, 3.2, wants 400."""
    hosts = [name for name, _ in headers].count(b"host")
    if hosts > 1 or (not hosts and version != "1.0"):
        raise NoHost


def head_without_upgrade(parser: HttpRequestParser, url: bytes, headers: Iterable[Header]) -> bytes:
    """Write the head of the request that `parser` has read, as if it had asked for no upgrade."""
    lines = [b"%b %b HTTP/%b" % (parser.get_method(), url, parser.get_http_version().encode())]
    lines += [b"%b: %b" % (name, value) for name, value in map(_without, headers) if value]
    return b"\r\n".join([*lines, b"", b""])


def _without(header: Header) -> Header:
    name, value = header
    if name == b"connection":
        wishes = [wish for wish in value.split(b",") if wish.strip().lower() != b"upgrade"]
        return name, b",".join(wishes)
    return name, b"" if name == b"upgrade" else value
