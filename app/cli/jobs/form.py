"""A form with a file, which is read while it is sent."""

import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path

_PIECE_BYTES = 256 * 1024


class Form:
    """The bytes of a form, `multipart/form-data`. It can be sent several times."""

    def __init__(self, file: Path, fields: Mapping[str, str]) -> None:
        boundary = secrets.token_hex(16)
        head = "".join(f"{_part(boundary, name)}\r\n\r\n{value}\r\n" for name, value in fields.items())
        name = file.name.replace("\\", "_").replace('"', "_").replace("\r", "_").replace("\n", "_")
        self._file = file
        self._head = f'{head}{_part(boundary, "file")}; filename="{name}"\r\n\r\n'.encode()
        self._tail = f"\r\n--{boundary}--\r\n".encode()
        self._size = file.stat().st_size
        self.headers = {
            "Content-Type": f"multipart/form-data; boundary={boundary}",
            "Content-Length": str(len(self._head) + self._size + len(self._tail)),
        }

    def __iter__(self) -> Iterator[bytes]:
        yield self._head
        with self._file.open("rb") as stream:
            left = self._size  # no more, even if the file grows meanwhile
            while left and (piece := stream.read(min(left, _PIECE_BYTES))):
                left -= len(piece)
                yield piece
        yield self._tail


def _part(boundary: str, name: str) -> str:
    return f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"'
