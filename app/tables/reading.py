"""Opens the input, and looks through it before the work begins."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ..errors import TableError, TableOptionError
from .formats import Source
from .reader import Columns, Reader, Window
from .rows import Rows
from .text import JsonReader, LineReader, TableReader


@dataclass(frozen=True, slots=True)
class Scan:
    """What a first look at the whole input found. Of a pipe it is only what the header says."""

    rows: int | None
    names: list[str] | None


@contextmanager
def open_reader(source: Source, columns: Columns) -> Iterator[Reader]:
    """Open the input, and read its header. Raises `TableError`, which names the line."""
    if source.format == "parquet":
        from .parquet import ParquetReader

        with source.open_binary() as stream:
            yield ParquetReader(stream, source, columns)
        return
    readers: dict[str, Callable[..., Reader]] = {"jsonl": JsonReader, "lines": LineReader}
    with source.open_lines() as lines:
        yield readers.get(source.format, TableReader)(lines, source, columns)


def skip_rows(windows: Iterator[Rows], rows: int, digest: str, source: Source) -> None:
    """Read the first `rows` rows; raise `TableOptionError` if they are not those that had this digest before."""
    found = ""
    for window in windows if rows else ():
        found = window.digest
        if window.last >= rows:
            break
    if found != digest:
        raise TableOptionError(f"{source.name}: its first {rows:,} rows are not those of the output")


def scan(source: Source, columns: Columns, max_name_chars: int | None = None) -> Scan:
    """Read a file once, so that a bad row is reported now and not after hours. Raises `TableError`.

    It also does if the names of all columns together have more than `max_name_chars` characters.
    """
    with open_reader(source, columns) as reader:
        names, fields, rows = reader.names, dict[str, None](), 0
        _check_length(names or (), max_name_chars, source)
        for window in reader.windows(Window()):
            rows = window.last
            if names is None:
                fields |= dict.fromkeys(window.fields)
                _check_length(fields, max_name_chars, source)
        return Scan(rows, list(fields) if names is None else names)


def _check_length(names: Collection[str], max_chars: int | None, source: Source) -> None:
    if max_chars is not None and sum(map(len, names)) + len(names) > max_chars:
        raise TableError(f"{source.name}: the names of its columns have more than {max_chars:,} characters in total")
