"""Reads CSV, TSV, JSON lines and plain lines.

A row that cannot be read is an error, or is kept with its problem.
"""

import csv
import hashlib
import json
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, NamedTuple

from ..errors import TableError
from .formats import Lines, Source, has_invalid_bytes, show_invalid_bytes
from .reader import Columns, Reader, Window, check_names, choose_column
from .rows import JsonRows, Rows, TableRows

_LONGEST_CELL = 16 * 1024 * 1024  # characters: a quote that is never closed must not fill the memory
_NO_QUOTES = "if quotes are ordinary characters, use {no_quotes}"


class _Problem(NamedTuple):
    """Why a row cannot be read; `advice` is that of `TableError`."""

    what: str
    advice: str = ""


class _TextReader(Reader):
    """Reads lines of text: the subclass parses them into rows."""

    def __init__(self, lines: Lines, source: Source, columns: Columns) -> None:
        self._lines = lines
        self._source = source
        self._columns = columns
        self._digest = hashlib.sha256()
        self._chars = 0  # of all rows

    def windows(self, window: Window) -> Iterator[Rows]:
        rows, chars, last, begun = self._empty(), 0, 0, self._chars
        while self._add(rows):
            chars += len(rows.texts[-1])
            if len(rows) == window.rows or chars >= window.chars or self._chars - begun >= window.all_chars:
                yield self._finish(rows, last)
                last = rows.last
                rows, chars, begun = self._empty(), 0, self._chars
        if rows.texts:
            yield self._finish(rows, last)

    def _finish(self, rows: Rows, before: int) -> Rows:
        rows.last = before + len(rows)
        rows.digest = self._digest.hexdigest()
        return rows

    @abstractmethod
    def _empty(self) -> Rows: ...

    @abstractmethod
    def _add(self, rows: Any) -> bool:
        """Add the next row; return False at the end."""

    def _take(self) -> tuple[int, str]:
        line, raw = self._lines.take()
        self._digest.update(raw.encode("utf-8", "surrogatepass"))
        self._chars += len(raw)
        return line, raw

    def _check_bytes(self, raw: str) -> _Problem | None:
        if not has_invalid_bytes(raw):
            return None
        return _Problem(f"not valid {self._lines.encoding.upper()}", "use {encoding}")

    def _record(self, rows: Rows, line: int, text: str, problem: _Problem | None) -> None:
        if problem:
            if not self._columns.keep_bad_rows:
                advice = f"{problem.advice}, or keep" if problem.advice else "keep"
                raise TableError(
                    f"{self._source.name}, line {line}: {problem.what}", f"{advice} such rows with {{on_bad_row}} keep"
                )
            rows.problems[len(rows)] = f"line {line}: {problem.what.partition(';')[0]}"
        rows.lines.append(line)
        rows.texts.append(text)


class LineReader(_TextReader):
    names: list[str]

    def __init__(self, lines: Lines, source: Source, columns: Columns) -> None:
        super().__init__(lines, source, columns)
        self.names = [columns.text or "text"]
        check_names(self.names, columns.added, source.name)

    def _empty(self) -> TableRows:
        return TableRows(self._source.name, names=self.names)

    def _add(self, rows: TableRows) -> bool:
        if next(self._lines, None) is None:
            return False
        line, raw = self._take()
        text = raw.removesuffix("\n").removesuffix("\r")
        problem = self._check_bytes(raw)
        text = show_invalid_bytes(text) if problem else text
        self._record(rows, line, text, problem)
        rows.table.append([text])
        return True


class TableReader(_TextReader):
    names: list[str]

    def __init__(self, lines: Lines, source: Source, columns: Columns) -> None:
        super().__init__(lines, source, columns)
        csv.field_size_limit(_LONGEST_CELL)
        self._rows = csv.reader(
            lines,
            delimiter=source.delimiter,
            quoting=csv.QUOTE_MINIMAL if source.quotes else csv.QUOTE_NONE,
            strict=True,
        )
        self.names = []
        first = self._next()
        if first is None:
            if source.header:
                raise TableError(f"{source.name}: it is empty; expected a line with the names of its columns")
            self._first = None
            return
        if problem := self._problem or self._check_bytes(self._raw):
            raise TableError(f"{source.name}, line {self._line}: {problem.what}", problem.advice)
        self.names = first if source.header else [f"column_{number}" for number in range(1, len(first) + 1)]
        self._first = None if source.header else first
        self._text = choose_column(self.names, columns.text, source)
        check_names(self.names, columns.added, source.name)

    def _next(self) -> list[str] | None:
        """Return the next row; with `_problem`, one that cannot be parsed. Skips blank lines."""
        while True:
            self._problem: _Problem | None = None
            try:
                cells = next(self._rows, None)
            except csv.Error as error:
                cells, self._problem = [], _explain(error)
            if cells is None:
                return None
            self._line, self._raw = self._take()
            if cells or self._problem or len(self.names) == 1:
                return cells

    def _empty(self) -> TableRows:
        return TableRows(self._source.name, names=self.names)

    def _add(self, rows: TableRows) -> bool:
        cells, self._first = self._first or self._next(), None
        if cells is None:
            return False
        width = len(self.names)
        problem = self._problem or self._check_bytes(self._raw)
        if self._problem:
            cells = [""] * width
            cells[self._text] = self._raw.rstrip("\r\n")
        elif width == 1 and not cells:
            cells = [""]
        elif len(cells) != width:
            problem = problem or _Problem(f"{len(cells)} cells instead of {width}")
            cells = [*cells, *[""] * width][: max(width, len(cells))]
            cells = [*cells[: width - 1], self._source.delimiter.join(cells[width - 1 :])]
        if problem:
            cells = [show_invalid_bytes(cell) for cell in cells]
        self._record(rows, self._line, cells[self._text], problem)
        rows.table.append(cells)
        return True


class JsonReader(_TextReader):
    def __init__(self, lines: Lines, source: Source, columns: Columns) -> None:
        super().__init__(lines, source, columns)
        self._field = columns.text or "text"
        check_names([self._field], columns.added, source.name)

    def _empty(self) -> JsonRows:
        return JsonRows(self._source.name)

    def _add(self, rows: JsonRows) -> bool:
        raw = "\n"
        while not raw.strip():  # skip blank lines
            if next(self._lines, None) is None:
                return False
            line, raw = self._take()
        row, problem = self._parse(raw)
        if problem:
            kept = show_invalid_bytes(raw.rstrip("\r\n"))
            row, raw = {self._field: kept}, json.dumps({self._field: kept}, ensure_ascii=False)
        value = row[self._field]
        text = value if isinstance(value, str) else ""
        self._record(rows, line, text, problem)
        if not isinstance(value, str | None):
            rows.problems[len(rows) - 1] = f"{self._field} is not a string"
        rows.written.append(raw)
        rows.objects.append(row)
        return True

    def _parse(self, raw: str) -> tuple[dict[str, Any], _Problem | None]:
        if problem := self._check_bytes(raw):
            return {}, problem
        try:
            row = json.loads(raw)
        except (ValueError, RecursionError):  # without the message, which may quote the text
            return {}, _Problem("not JSON")
        if not isinstance(row, dict):
            return {}, _Problem("not a JSON object")
        if self._field not in row:
            return {}, _Problem(f"no field {self._field}; its fields are {', '.join(row) or 'none'}")
        if clash := sorted(row.keys() & set(self._columns.added)):
            return {}, _Problem(f"it already has the field {', '.join(clash)}", "name the new ones with {prefix}")
        return row, None


def _explain(error: csv.Error) -> _Problem:
    reason = str(error)
    if "unexpected end of data" in reason:
        return _Problem("a quote is not closed", _NO_QUOTES)
    if "field limit" in reason:
        return _Problem(f"a cell is longer than {_LONGEST_CELL:,} characters; a quote may not be closed")
    return _Problem("text after a closing quote", _NO_QUOTES)
