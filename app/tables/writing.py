"""Encodes rows with their results as the bytes of an output format."""

import csv
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from .rows import Rows, as_text

if TYPE_CHECKING:
    from ..types import Prediction

Result: TypeAlias = "Prediction | str"  # or why there is none


class Encoder(Protocol):
    """Turns rows into bytes that are appended to the output."""

    def header(self) -> bytes:
        """Return what comes before the first row."""
        ...

    def encode(self, rows: Rows, results: Sequence[Result]) -> bytes:
        """Return the rows with what was added."""
        ...


def render(result: Result) -> tuple[Any, ...]:
    """Return the values of the columns `ADDED`."""
    if isinstance(result, str):
        return None, None, None, None, result
    return *result.render().values(), None


class JsonEncoder:
    """JSON lines. Fields of JSON input stay as they were written."""

    def __init__(self, added: Sequence[str]) -> None:
        self._added = tuple(added)

    def header(self) -> bytes:
        return b""

    def encode(self, rows: Rows, results: Sequence[Result]) -> bytes:
        lines = []
        for members, result in zip(rows.members(), results, strict=True):
            more = json.dumps(dict(zip(self._added, render(result), strict=True)), ensure_ascii=False)[1:]
            lines.append(f"{{{members}{', ' if members else ''}{more}\n")
        return "".join(lines).encode("utf-8", "backslashreplace")


class _Parts(list[str]):
    """Collects what the writer of the csv module writes: one string per row."""

    write = list.append


class TableEncoder:
    """CSV and TSV. The scores are in one cell, as JSON."""

    def __init__(
        self, names: Sequence[str], added: Sequence[str], *, delimiter: str, header: bool, quotes: bool
    ) -> None:
        self._names = list(names)
        self._added = tuple(added)
        self._header = header
        self._parts = _Parts()
        # Two characters, so that a cell with either of them is quoted; rows then end with a line feed only.
        options: dict[str, Any] = {} if quotes else {"quoting": csv.QUOTE_NONE, "quotechar": None}
        self._writer = csv.writer(self._parts, delimiter=delimiter, lineterminator="\r\n", **options)

    def header(self) -> bytes:
        if self._header:
            self._writer.writerow([*self._names, *self._added])
        return self._take()

    def encode(self, rows: Rows, results: Sequence[Result]) -> bytes:
        for cells, result in zip(rows.cells(self._names), results, strict=True):
            self._writer.writerow([*cells, *map(as_text, render(result))])
        return self._take()

    def _take(self) -> bytes:
        text = "".join([row[:-2] + "\n" for row in self._parts])
        self._parts.clear()
        return text.encode("utf-8", "backslashreplace")
