"""A form with rows, `multipart/form-data`, which are read while they are sent."""

import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from .lists import encode
from .many import check_texts

_PIECE_BYTES = 64 * 1024
_UNSAFE = str.maketrans(dict.fromkeys('\\"\r\n', "_"))


class Form:
    """The bytes of a form: its fields, then its rows in pieces.

    `can_be_repeated` says whether they can be read a second time.
    """

    def __init__(self, rows: "FileRows | StreamRows | TextRows", fields: Mapping[str, str]) -> None:
        boundary = secrets.token_hex(16)
        head = "".join(f"{_part(boundary, name)}\r\n\r\n{value}\r\n" for name, value in fields.items())
        name = rows.name.translate(_UNSAFE)
        self._rows = rows
        self._head = f'{head}{_part(boundary, "file")}; filename="{name}"\r\n\r\n'.encode("utf-8", "replace")
        self._tail = f"\r\n--{boundary}--\r\n".encode()
        self.can_be_repeated = rows.can_be_repeated
        self.headers = {"content-type": f"multipart/form-data; boundary={boundary}"}
        if rows.size is not None:
            self.headers["content-length"] = str(len(self._head) + rows.size + len(self._tail))

    def pieces(self) -> Iterator[bytes]:
        """Read the rows from their beginning."""
        yield self._head
        yield from self._rows.pieces()
        yield self._tail


class FileRows:
    """A file on disk."""

    can_be_repeated = True

    def __init__(self, file: str | os.PathLike[str], name: str | None) -> None:
        self._path = Path(file)
        self.name = name or self._path.name
        self.size: int | None = self._path.stat().st_size

    def pieces(self) -> Iterator[bytes]:
        with self._path.open("rb") as stream:
            yield from _read(stream, self.size)


class StreamRows:
    """A file that is open, from where it is now. One that cannot go back is sent only once."""

    def __init__(self, stream: BinaryIO, name: str | None) -> None:
        own_name = getattr(stream, "name", None)
        self._stream = stream
        self.name = name or (Path(own_name).name if isinstance(own_name, str) else "upload")
        self.can_be_repeated = stream.seekable()
        self.size: int | None = None
        if self.can_be_repeated:
            self._start = stream.tell()
            self.size = stream.seek(0, os.SEEK_END) - self._start
            stream.seek(self._start)

    def pieces(self) -> Iterator[bytes]:
        if self.can_be_repeated:
            self._stream.seek(self._start)
        yield from _read(self._stream, self.size)


class TextRows:
    """Texts as JSON lines. An iterator, which can be read only once, is sent only once."""

    name = "texts.jsonl"
    size: int | None = None

    def __init__(self, texts: Iterable[str]) -> None:
        check_texts(texts)
        self._texts = texts
        self.can_be_repeated = iter(texts) is not texts

    def pieces(self) -> Iterator[bytes]:
        lines = bytearray()
        for text in self._texts:
            if not isinstance(text, str):
                raise TypeError("texts must be strings")
            lines += b'{"text":%s}\n' % encode(text)
            if len(lines) >= _PIECE_BYTES:
                yield bytes(lines)
                lines.clear()
        yield bytes(lines)


def _read(stream: BinaryIO, size: int | None) -> Iterator[bytes]:
    """Read at most `size` bytes, even if the file grows meanwhile."""
    left = size
    while piece := stream.read(_PIECE_BYTES if left is None else min(left, _PIECE_BYTES)):
        if not isinstance(piece, bytes):
            raise TypeError("the file must be open for bytes, not for text")
        if left is not None:
            left -= len(piece)
        yield piece


def _part(boundary: str, name: str) -> str:
    return f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"'
