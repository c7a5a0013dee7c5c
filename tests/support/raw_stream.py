"""`POST /predict/stream` on a raw socket, so that a test decides when to send and when to read."""

import json
import socket
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from tests.support.waiting import HANG_S


class RawStream:
    """One request. `status` and `headers` are those of the response."""

    def __init__(
        self,
        address: str,
        query: str = "",
        headers: Mapping[str, str] | None = None,
        *,
        buffer_bytes: int | None = None,
    ) -> None:
        """With `buffer_bytes`, the buffers of the client's socket are small."""
        url = urlsplit(address)
        self.socket = socket.socket()
        if buffer_bytes:
            for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
                self.socket.setsockopt(socket.SOL_SOCKET, option, buffer_bytes)
        self.socket.settimeout(HANG_S)
        self.socket.connect((url.hostname, url.port))
        stated = {"Host": url.netloc, "Content-Type": "application/x-ndjson", "Transfer-Encoding": "chunked"}
        lines = [f"{name}: {value}" for name, value in (stated | dict(headers or {})).items()]
        self.socket.sendall("\r\n".join([f"POST {url.path}/predict/stream{query} HTTP/1.1", *lines, "", ""]).encode())
        self._file = self.socket.makefile("rb")
        self._rest = b""

    def send(self, *lines: Any) -> None:
        """Send lines in one chunk: bytes as they are, anything else as JSON."""
        self.socket.sendall(chunk(*lines))

    def finish(self) -> None:
        """End the request."""
        self.socket.sendall(b"0\r\n\r\n")

    def head(self) -> tuple[int, dict[str, str]]:
        """Read the head of the response."""
        status = int(self._file.readline().split()[1])
        pairs = (line.decode().strip().partition(": ") for line in iter(self._file.readline, b"\r\n"))
        return status, {name.lower(): value for name, _, value in pairs}

    def answers(self) -> Iterator[Any]:
        """Read answers until the response ends."""
        while size := int(self._file.readline(), 16):
            *lines, self._rest = (self._rest + self._file.read(size)).split(b"\n")
            self._file.readline()
            yield from map(json.loads, lines)
        self._file.readline()
        assert self._rest == b""

    def close(self) -> None:
        self._file.close()
        self.socket.close()

    def __enter__(self) -> "RawStream":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def chunk(*lines: Any) -> bytes:
    """Return a chunk of HTTP with these lines."""
    data = b"".join(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n" for line in lines)
    return b"%x\r\n%b\r\n" % (len(data), data)
