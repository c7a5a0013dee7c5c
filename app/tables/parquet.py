"""Parquet, with pyarrow, which is an extra.

The footer of a Parquet file comes last, so half a file could not be continued. Rows are therefore collected as an Arrow
stream, which can be cut after each batch; at the end it becomes a Parquet file.
"""

import hashlib
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import TableError

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ModuleNotFoundError as error:
    raise TableError("Parquet needs an extra: pip install 'rt-sentiment[parquet]'") from error

from ..types import Prediction
from .formats import Source
from .reader import Columns, Reader, Window, check_names, choose_column
from .rows import Rows, as_text, members_of
from .writing import Result, render

_ROW_GROUP, _ROW_GROUP_BYTES = 65_536, 16 * 1024 * 1024  # whichever is reached first


@dataclass(slots=True)
class ArrowRows(Rows):
    """A batch of Arrow. Columns keep their types."""

    batch: Any = None

    @property
    def schema(self) -> Any:
        return self.batch.schema

    def cells(self, names: Sequence[str]) -> Iterable[list[str]]:  # noqa: ARG002 - they are in this order
        columns = [[as_text(_plain(value)) for value in column.to_pylist()] for column in self.batch.columns]
        return map(list, zip(*columns, strict=True))

    def column(self, name: str) -> list[str]:
        return [as_text(_plain(value)) for value in self.batch.column(name).to_pylist()]

    def members(self) -> Iterable[str]:
        return [members_of({name: _plain(value) for name, value in row.items()}) for row in self.batch.to_pylist()]


def _plain(value: Any) -> Any:
    """Dates and times as in ISO 8601, and bytes as text."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return value.isoformat() if hasattr(value, "isoformat") else value


class ParquetReader(Reader):
    """Reads batches of rows."""

    names: list[str]

    def __init__(self, stream: io.BufferedReader, source: Source, columns: Columns) -> None:
        if not stream.seekable():
            raise TableError(f"{source.name}: Parquet cannot be read from a pipe; name a file")
        try:
            self._file = pq.ParquetFile(stream)
        except (pa.ArrowException, OSError) as error:
            raise TableError(f"{source.name}: it is not a Parquet file: {_first_line(error)}") from None
        self._source = source
        self.schema = pa.schema(map(_without_dictionary, self._file.schema_arrow), self._file.schema_arrow.metadata)
        self.names = self.schema.names
        self.rows: int = self._file.metadata.num_rows
        self._text = choose_column(self.names, columns.text, source)
        check_names(self.names, columns.added, source.name)
        kind = self.schema.field(self._text).type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind)):
            raise TableError(f"{source.name}: the column {self.names[self._text]} has no text but {kind}")

    def windows(self, window: Window) -> Iterator[Rows]:
        digest, last = hashlib.sha256(), 0
        # By the average row. A batch always has the same rows, because a result is continued after one of them.
        groups = map(self._file.metadata.row_group, range(self._file.num_row_groups))
        row_bytes = 1 + sum(group.total_byte_size for group in groups) // max(1, self.rows)
        batches = self._file.iter_batches(batch_size=max(1, min(window.rows, window.all_chars // row_bytes)))
        while True:
            try:
                batch = next(batches, None)
                if batch is None:
                    return
                batch = pa.RecordBatch.from_arrays(
                    [
                        column.cast(field.type) if column.type != field.type else column
                        for column, field in zip(batch.columns, self.schema, strict=True)
                    ],
                    schema=self.schema,
                )
                digest.update(batch.serialize())
            except (pa.ArrowException, OSError) as error:
                raise TableError(
                    f"{self._source.name}, after row {last}: cannot be read: {_first_line(error)}"
                ) from None
            texts = [text or "" for text in batch.column(self._text).to_pylist()]
            numbers = list(range(last + 1, last + 1 + len(texts)))
            last += len(texts)
            yield ArrowRows(self._source.name, texts, numbers, {}, last, digest.hexdigest(), batch)


def _without_dictionary(field: Any) -> Any:
    """A batch with a dictionary could not be written on its own."""
    return field.with_type(field.type.value_type) if pa.types.is_dictionary(field.type) else field


class ArrowEncoder:
    """Encodes rows as messages of an Arrow stream."""

    def __init__(self, names: Sequence[str], added: Sequence[str], labels: Sequence[str], schema: Any = None) -> None:
        self._names = list(names)
        scores = pa.struct([(label, pa.float64()) for label in labels])
        types = (pa.string(), pa.float64(), scores, pa.bool_(), pa.string())
        fields = schema or pa.schema([(name, pa.string()) for name in names])
        self._schema = pa.schema(
            [*fields, *(pa.field(name, kind) for name, kind in zip(added, types, strict=True))], fields.metadata
        )

    def header(self) -> bytes:
        return bytes(self._schema.serialize())

    @property
    def schema(self) -> Any:
        return self._schema

    def encode(self, rows: Rows, results: Sequence[Result]) -> bytes:
        return bytes(self.batch(rows, results).serialize())

    def batch(self, rows: Rows, results: Sequence[Result]) -> Any:
        """Return the rows with what was added, as a batch of Arrow."""
        values = list(zip(*map(render, results), strict=True))
        fields = list(self._schema)[len(self._names) :]
        added = [pa.array(column, field.type) for column, field in zip(values, fields, strict=True)]
        if isinstance(rows, ArrowRows):
            columns = rows.batch.columns
        else:
            columns = map(_text_array, zip(*rows.cells(self._names), strict=True))
        return pa.RecordBatch.from_arrays([*columns, *added], schema=self._schema)


def _text_array(values: Sequence[str]) -> Any:
    return pa.array([value.encode("utf-8", "backslashreplace").decode() for value in values], pa.string())


def convert(stream: Path, target: Path) -> None:
    """Write the rows of an Arrow stream to a Parquet file."""
    with stream.open("rb") as source, pa.ipc.open_stream(source) as batches, target.open("wb") as output:
        with pq.ParquetWriter(output, batches.schema) as writer:
            for table in _row_groups(batches):
                writer.write_table(table)
        output.flush()
        os.fsync(output.fileno())


def decode_batch(data: bytes, name: str, columns: int) -> tuple[ArrowRows, list[Result]]:
    """Return the rows of an Arrow stream of one batch, and the results in what comes after so many columns."""
    batch = pa.ipc.open_stream(data).read_next_batch()
    added = zip(*(column.to_pylist() for column in batch.columns[columns:]), strict=True)
    results = [error if error is not None else Prediction.from_shown(*shown) for *shown, error in added]
    return ArrowRows(name, [""] * len(batch), batch=batch.select(range(columns))), results


def stream_parquet(encoder: ArrowEncoder, parts: Iterable[tuple[Rows, Sequence[Result]]]) -> Iterator[bytes]:
    """Yield the bytes of a Parquet file, while its rows come."""
    sink = _Sink()
    with pq.ParquetWriter(pa.PythonFile(sink, mode="w"), encoder.schema) as writer:
        for table in _row_groups(encoder.batch(rows, results) for rows, results in parts):
            writer.write_table(table)
            yield sink.take()
    yield sink.take()


def _row_groups(batches: Iterable[Any]) -> Iterator[Any]:
    """Join batches to tables that are large enough for a row group, and small enough for the memory."""
    waiting: list[Any] = []
    for batch in batches:
        waiting.append(batch)
        if sum(map(len, waiting)) >= _ROW_GROUP or sum(each.nbytes for each in waiting) >= _ROW_GROUP_BYTES:
            yield pa.Table.from_batches(waiting)
            waiting = []
    if waiting:
        yield pa.Table.from_batches(waiting)


class _Sink(io.RawIOBase):
    """Keeps what is written until it is taken."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        data = b"".join(self._pieces)
        self._pieces.clear()
        return data


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
