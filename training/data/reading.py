"""Rows of a file, with the readers of `rt-sentiment score`, and what can be found out about its layout."""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from app.errors import TableError, TableOptionError
from app.tables import Columns, JsonRows, Rows, Source, TableRows, Window, format_of, open_reader, source_of
from training.errors import InputError, UsageError

FORMATS = ("csv", "tsv", "jsonl", "parquet")
SUFFIXES = (".csv", ".tsv", ".tab", ".jsonl", ".ndjson", ".parquet", ".pq")
_DELIMITERS = {";": "semicolons", "\t": "tabs", ",": "commas", "|": "vertical bars"}
_CONVERT = {
    ".json": "write one JSON object per line, with .jsonl at the end of the name; pandas: "
    "to_json(…, orient='records', lines=True)",
    ".xlsx": "save the sheet as CSV (UTF-8)",
    ".xls": "save the sheet as CSV (UTF-8)",
}
QUOTED = "cells are in quotes"
_FIRST_ROWS = 100  # whose fields are the columns of JSON lines
# As a CSV library writes a cell that has quotes in it.
_QUOTED_CELL = re.compile(r'"(?:[^"]|"")*""(?:[^"]|"")*"')


class Record(NamedTuple):
    """A row: its line or, in Parquet, its number; its fields; and why it cannot be read, if so."""

    line: int
    fields: dict[str, Any]
    problem: str


@contextmanager
def as_input_error() -> Iterator[None]:
    """Turn the error of a reader into that of a training step."""
    try:
        yield
    except TableError as error:
        kind = UsageError if isinstance(error, TableOptionError) else InputError
        raise kind(error.explain(lambda option: f"--{option.replace('_', '-')}")) from None


def is_data(path: Path) -> bool:
    return path.name.lower().removesuffix(".gz").endswith(SUFFIXES)


def open_source(
    path: Path, kind: str | None, delimiter: str | None, encoding: str | None, quotes: bool | None
) -> tuple[Source, list[str]]:
    """Return how the file is laid out, and notes on what was found out. Raises `InputError` if it cannot be read."""
    if path.is_dir():
        raise InputError(f"{path} is a folder; name a file")
    if not path.exists():
        raise InputError(f"{path}: no such file")
    if kind is None and not is_data(path):
        advice = _CONVERT.get(path.suffix.lower(), f"expected {', '.join(SUFFIXES)}, or a directory of such files")
        raise InputError(f"{path}: {advice}")
    with as_input_error():
        found = format_of(str(path), kind, "format")
        default_quotes = found != "tsv" if quotes is None else quotes
        source = source_of(str(path), found, encoding or "", delimiter or "", quotes=default_quotes)
        notes: list[str] = []
        if found not in ("csv", "tsv"):
            return source, notes
        names = _header(source)
        others = [mark for mark in _DELIMITERS if mark in names[0]] if len(names) == 1 and not delimiter else []
        if len(others) == 1:
            source = replace(source, delimiter=others[0])
            notes.append(f"columns are separated by {_DELIMITERS[others[0]]}")
            names = _header(source)
        if not source.quotes and quotes is None and _has_quotes(source, names):
            source = replace(source, quotes=True)
            notes.append(QUOTED)
        return source, notes


def _has_quotes(source: Source, names: Sequence[str]) -> bool:
    """Return whether the header of a file that is read without quotes has some, and its rows can be read with them."""
    if not all(len(name) > 1 and name[0] == name[-1] == '"' for name in names):
        return False
    without, with_quotes = (
        sum(bool(record.problem) for record in read_records(replace(source, quotes=quotes), "1"))
        for quotes in (False, True)
    )
    return with_quotes <= without


def column_names(source: Source) -> list[str]:
    """Return the names of the columns; in JSON lines, those of the first rows."""
    with as_input_error():
        if source.format == "parquet":
            return _parquet_names(source)
        return _json_names(source) if source.format == "jsonl" else _header(source)


def _header(source: Source) -> list[str]:
    try:
        with open_reader(source, Columns("1")) as reader:
            return list(reader.names or [""])
    except TableError as error:
        if "it is empty" in str(error):
            raise InputError(f"{source.name}: no rows") from None
        raise


def _json_names(source: Source) -> list[str]:
    names: dict[str, None] = {}
    with source.open_lines() as lines:
        for _, line in zip(range(_FIRST_ROWS), lines, strict=False):
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                continue
            names |= dict.fromkeys(row if isinstance(row, dict) else ())
    return list(names)


def _parquet_names(source: Source) -> list[str]:
    try:
        import pyarrow.parquet as pq
    except ModuleNotFoundError:
        raise InputError("Parquet needs an extra: pip install 'rt-sentiment[parquet]'") from None
    try:
        return list(pq.read_schema(source.path).names)
    except (ValueError, OSError) as error:  # pyarrow's own errors are among them
        raise InputError(f"{source.name}: it is not a Parquet file: {str(error).partition(chr(10))[0]}") from None


def read_records(source: Source, text_column: str) -> list[Record]:
    """Return every row, also those that cannot be read. Raises `InputError` if the file itself cannot be read."""
    records = []
    with as_input_error(), open_reader(source, Columns(text_column, keep_bad_rows=True)) as reader:
        for rows in reader.windows(Window()):
            for place, fields in enumerate(_fields(rows)):
                problem = re.sub(r"^line \d+: ", "", rows.problems.get(place, ""))
                records.append(Record(rows.lines[place], fields, problem))
    return records


def _fields(rows: Rows) -> Sequence[dict[str, Any]]:
    if isinstance(rows, TableRows):
        return [dict(zip(rows.names, cells, strict=True)) for cells in rows.table]
    if isinstance(rows, JsonRows):
        return rows.objects
    batch: list[dict[str, Any]] = rows.batch.to_pylist()  # type: ignore[attr-defined]
    return batch


def may_be_quoted(records: Sequence[Record]) -> bool:
    """Return whether a TSV that was read without quotes has some, as pandas writes them."""
    return any(
        record.problem or any(isinstance(cell, str) and _QUOTED_CELL.fullmatch(cell) for cell in record.fields.values())
        for record in records
    )


def explain_layout(source: Source, text_column: str, records: Sequence[Record]) -> str:
    """Return what may be wrong with the layout if rows cannot be read, or ""."""
    problems = [record.problem for record in records if record.problem]
    if any("not valid UTF" in problem for problem in problems):
        return "the file has another encoding; try --encoding cp1252, or save it as UTF-8"
    if source.format == "jsonl":
        is_document = records[:1] and records[0].problem == "not JSON" and _first_line(source) in ("[", "{")
        return (
            "it looks like one JSON document; write one object per line, and no array around them"
            if is_document
            else ""
        )
    return _explain_table(source, text_column, records) if problems and source.format in ("csv", "tsv") else ""


def _explain_table(source: Source, text_column: str, records: Sequence[Record]) -> str:
    turned = replace(source, quotes=not source.quotes)
    try:
        fits = not any(record.problem for record in read_records(turned, text_column))
    except InputError:
        fits = False
    if fits:
        without = "without quotes: quotes seem to be ordinary characters here; use --no-quotes"
        return "all rows can be read " + (without if source.quotes else "with quotes around cells; use --quotes")
    # Without quotes in the format, a cell that begins with one shows that the file may have them.
    cells = (str(cell) for record in records for cell in record.fields.values())
    if any("quote" in record.problem for record in records) or (
        not source.quotes and any(cell.startswith('"') for cell in cells)
    ):
        return "the quotes look wrong: a cell that has quotes in it needs quotes around it, and each of its own doubled"
    name = _DELIMITERS.get(source.delimiter, repr(source.delimiter))
    return (
        f"the separator looks wrong: columns are separated by {name} here, and a cell that has the separator or a line "
        "break in it needs quotes around it"
    )


def _first_line(source: Source) -> str:
    """Return the first line, or its first character if that begins an array."""
    with source.open_lines() as lines:
        line = next(lines, "").strip()
    return line[:1] if line.startswith("[") else line
