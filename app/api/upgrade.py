"""A request that would rather have another protocol, without that wish."""

from collections.abc import Iterable

from httptools import HttpRequestParser

from app.api.context import Header


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
