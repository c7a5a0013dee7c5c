"""NDJSON that arrives in pieces: from bytes to lines. Pure."""

import re
from codecs import BOM_UTF8

# A line from its first character that is not white space. Lines with white space alone are skipped.
_LINE = re.compile(rb"[^ \t\r\n][^\n]*")


class LineSplitter:
    """Splits what arrives into lines, and keeps at most `max_bytes` of one that is not complete.

    A line that is longer is skipped while it arrives, and None takes its place. Lines end with a line feed; a carriage
    return before it is white space in JSON. A byte order mark at the start is skipped.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._rest = bytearray()
        self._skips = False  # it is within a line that is too long
        self._started = False

    @property
    def held_bytes(self) -> int:
        """Memory of the line that is not complete."""
        return len(self._rest)

    def feed(self, data: bytes) -> list[bytes | None]:
        """Return the lines that are complete now."""
        complete, end, rest = data.rpartition(b"\n")
        lines = self._complete(complete) if end else []
        self._keep(rest)
        return lines

    def end(self) -> list[bytes | None]:
        """Return the last line, if it has no line feed."""
        return self._complete(b"")

    def _complete(self, data: bytes) -> list[bytes | None]:
        lines: list[bytes | None] = []
        if self._skips:
            lines.append(None)
            _, _, data = data.partition(b"\n")
        else:
            data = bytes(self._rest) + data
        self._rest.clear()
        self._skips = False
        if not self._started:
            self._started, data = True, data.removeprefix(BOM_UTF8)
        lines += [line if len(line) <= self._max_bytes else None for line in _LINE.findall(data)]
        return lines

    def _keep(self, data: bytes) -> None:
        self._skips |= len(self._rest) + len(data) > self._max_bytes
        if self._skips:
            self._rest.clear()
        else:
            self._rest += data
