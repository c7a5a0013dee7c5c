"""Reads a form with a file, `multipart/form-data`, and passes the file on while it arrives."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from starlette.exceptions import HTTPException

from ..errors import InvalidInput, TextTooLong

_MAX_FIELD_BYTES = 4096
_MAX_FIELDS = 20
_PIECE_BYTES = 256 * 1024
_IDLE_S = 30.0
_SLOWEST_BYTES_PER_S = 1024
FILE = "file"


def boundary_of(content_type: str) -> bytes | None:
    """Return the boundary of a form, or None if the content type is another one."""
    from python_multipart.multipart import parse_options_header

    kind, options = parse_options_header(content_type)
    return options.get(b"boundary") if kind == b"multipart/form-data" else None


async def in_time(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Pass a body on. Raises 408 if its client stops for long, or is slower than a kilobyte a second."""
    begun_s, size = time.monotonic(), 0
    while True:
        try:
            async with asyncio.timeout(_IDLE_S):
                data = await anext(body, None)
        except TimeoutError:
            data, late = b"", True
        else:
            late = time.monotonic() - begun_s > _IDLE_S + size / _SLOWEST_BYTES_PER_S
        if data is None:
            return
        if late:
            raise HTTPException(408, "the body did not arrive in time", {"Connection": "close"})
        size += len(data)
        yield data


class Form:
    """The fields of a form. The part called `file` goes to `store` in pieces, everything else is kept."""

    def __init__(self, boundary: bytes, store: Callable[[bytes], Awaitable[None]]) -> None:
        from python_multipart import MultipartParser

        self.fields: dict[str, str] = {}
        self.file_name: str | None = None
        self._store = store
        self._pending = bytearray()
        self._field: str | None = None
        self._value = bytearray()
        self._header = (bytearray(), bytearray())
        self._headers: dict[bytes, bytes] = {}
        self._is_file = self._is_over = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._on_part_begin,
                "on_part_data": self._on_part_data,
                "on_part_end": self._on_part_end,
                "on_header_field": lambda data, start, end: self._header[0].extend(data[start:end]),
                "on_header_value": lambda data, start, end: self._header[1].extend(data[start:end]),
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers_finished,
                "on_end": self._on_end,
            },
        )

    async def read(self, body: AsyncIterator[bytes]) -> None:
        """Read the whole form. Raises `InvalidInput` if it is none, and what `store` raises."""
        from python_multipart.exceptions import FormParserError

        async for data in body:
            try:
                self._parser.write(data)
            except FormParserError:
                raise InvalidInput("the body is not a valid form (multipart/form-data)", ("body",)) from None
            if len(self._pending) >= _PIECE_BYTES:
                await self._flush()
        if not self._is_over:
            raise InvalidInput("the body is not a complete form (multipart/form-data)", ("body",))
        if self.file_name is None:
            raise InvalidInput(f"the form has no part called {FILE} with the rows", ("body", FILE))
        await self._flush()

    async def _flush(self) -> None:
        if self._pending:
            data, self._pending = bytes(self._pending), bytearray()
            await self._store(data)

    def _on_part_begin(self) -> None:
        self._headers, self._value = {}, bytearray()

    def _on_header_end(self) -> None:
        name, value = self._header
        self._headers[bytes(name).lower()] = bytes(value)
        self._header = (bytearray(), bytearray())

    def _on_headers_finished(self) -> None:
        from python_multipart.multipart import parse_options_header

        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        self._field = options.get(b"name", b"").decode("utf-8", "replace")
        self._is_file = self._field == FILE
        if self._is_file:
            if self.file_name is not None:
                raise InvalidInput(f"the form has two parts called {FILE}", ("body", FILE))
            name = options.get(b"filename", b"").decode("utf-8", "replace")
            self.file_name = name.replace("\\", "/").rpartition("/")[2][-_MAX_NAME:] or "upload"

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._is_file:
            self._pending += data[start:end]
            return
        self._value += data[start:end]
        if len(self._value) > _MAX_FIELD_BYTES:
            raise TextTooLong(f"a field of the form is longer than {_MAX_FIELD_BYTES} bytes")

    def _on_part_end(self) -> None:
        if self._is_file or self._field is None:
            return
        if self._field in self.fields or len(self.fields) >= _MAX_FIELDS:
            raise InvalidInput("a field of the form is there twice, or there are too many fields", ("body",))
        self.fields[self._field] = self._value.decode("utf-8", "replace")

    def _on_end(self) -> None:
        self._is_over = True


_MAX_NAME = 128
_BOOLEANS = {"true": True, "false": False}


def values_of(fields: Mapping[str, str]) -> dict[str, Any]:
    """Return the fields of a form as JSON would have them; an empty one counts as absent."""
    return {name: _BOOLEANS.get(value, value) for name, value in fields.items() if value}
