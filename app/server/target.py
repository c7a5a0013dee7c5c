"""The request line: which versions of HTTP and which forms of a target the server accepts (RFC 9112, section 3)."""

import re
from collections.abc import Iterable

# The parser accepts HTTP/0.9 and HTTP/2.0 as well.
VERSIONS = ("1.1", "1.0")

_RTSP = re.compile(rb"[\r\n]*[A-Z]+ +[^ ]+ +RTSP/")
_ABSOLUTE = re.compile(rb"https?://([^/?]+)/", re.IGNORECASE)


def is_rtsp(head: bytes) -> bool:
    """Return whether a request is RTSP, which the parser accepts as well and does not report."""
    return _RTSP.match(head) is not None


def is_valid_target(target: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Return whether a target is a path, or a URL of the host in the `Host` header.

    The other forms are `*` and `host:port`, which only proxies and tunnels need.
    """
    if b"#" in target:  # the parser would drop the fragment, and a proxy might not
        return False
    if target.startswith(b"/"):
        return True
    url = _ABSOLUTE.match(target)
    return url is not None and [value.lower() for name, value in headers if name == b"host"] == [url[1].lower()]


def without_upgrade(line: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return the head of a request again, from its line and headers, but without `Upgrade`."""
    headers = list(headers)
    lines = [line, *(b"%b: %b" % header for header in headers if header[0] not in (b"upgrade", b"connection"))]
    if any(name == b"connection" and b"close" in value.lower() for name, value in headers):
        lines.append(b"connection: close")
    return b"\r\n".join([*lines, b"", b""])
