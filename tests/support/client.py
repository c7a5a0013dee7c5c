"""A client of an ASGI application without a socket: sends a request, keeps the response and may leave at any time."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

JSON = {"host": "test", "content-type": "application/json"}


class AsgiClient:
    def __init__(self, *chunks: bytes, complete: bool = True) -> None:
        """Send `chunks` as the body; if it is not `complete`, more is announced and never comes."""
        self._messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.received: list[Any] = []
        for number, chunk in enumerate(chunks or (b"",), 1):
            self._messages.put_nowait(
                {"type": "http.request", "body": chunk, "more_body": not complete or number < len(chunks)}
            )

    def leave(self) -> None:
        self._messages.put_nowait({"type": "http.disconnect"})

    async def receive(self) -> dict[str, Any]:
        return await self._messages.get()

    async def send(self, message: Any) -> None:
        self.received.append(message)

    @property
    def status(self) -> int | None:
        """Status of the only response, or None if there is none."""
        starts = [message for message in self.received if message["type"] == "http.response.start"]
        assert len(starts) <= 1
        return starts[0]["status"] if starts else None

    @property
    def headers(self) -> dict[str, str]:
        pairs = [(name.decode().lower(), value.decode()) for name, value in self.received[0]["headers"]]
        headers = dict(pairs)
        assert len(headers) == len(pairs), "no header is sent twice"
        return headers

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.received[1:])

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def scope_of(
    path: str = "/predict", method: str = "POST", headers: Mapping[str, str] | None = None, **fields: Any
) -> dict[str, Any]:
    """Return the scope of a request. `headers` replace those of a request with a JSON body."""
    pairs = [(name.encode(), value.encode()) for name, value in (JSON if headers is None else headers).items()]
    return {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "headers": pairs,
        "client": ("192.0.2.1", 1234),
        "server": ("test", 80),
        **fields,
    }
