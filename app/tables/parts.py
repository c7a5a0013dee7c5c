"""A part of a result: consecutive rows with their results, without loss and independent of an output format.

Of text, each row takes two lines of JSON: its cells or, of JSON input, the row as it was written; and what was added.
A part of Parquet input is an Arrow stream, which keeps the types of the columns.
"""

import json
from collections.abc import Sequence
from typing import Any

from .formats import Source
from .reader import ADDED
from .rows import JsonRows, Rows, TableRows
from .writing import Result, render


def encode_part(rows: Rows, results: Sequence[Result], names: Sequence[str], labels: Sequence[str]) -> bytes:
    """Return rows and results as bytes."""
    if not isinstance(rows, TableRows | JsonRows):
        from .parquet import ArrowEncoder

        encoder = ArrowEncoder(names, _inner(names), labels, rows.schema)
        return encoder.header() + encoder.encode(rows, results)
    lines = rows.table if isinstance(rows, TableRows) else rows.written
    parts = []
    for line, result in zip(lines, results, strict=True):
        # JSON that was written on one line is so still. A lone surrogate cannot be UTF-8, but can be an escape.
        text = line.strip() if isinstance(line, str) else json.dumps(line)
        parts.append(f"{text}\n{json.dumps(render(result))}\n")
    return "".join(parts).encode("utf-8", "backslashreplace")


def decode_part(data: bytes, source: Source, names: Sequence[str]) -> tuple[Rows, list[Result]]:
    """Return what `encode_part` got."""
    if source.format == "parquet":
        from .parquet import decode_batch

        return decode_batch(data, source.name, len(names))
    lines = data.decode("utf-8").split("\n")
    written, added = lines[:-1:2], lines[1::2]
    results = [_result(json.loads(line)) for line in added]
    if source.format != "jsonl":
        table = [json.loads(line) for line in written]
        return TableRows(source.name, [""] * len(table), names=list(names), table=table), results
    objects = [json.loads(line) for line in written]
    numbers = list(range(1, len(objects) + 1))
    return JsonRows(source.name, [""] * len(objects), numbers, written=written, objects=objects), results


def _inner(names: Sequence[str]) -> list[str]:
    """Return names for the added columns that no column of the input has: they never leave the part."""
    prefix = "_"
    while any(name.startswith(prefix) for name in names):
        prefix += "_"
    return [prefix + name for name in ADDED]


def _result(added: Sequence[Any]) -> Result:
    from ..types import Prediction  # imports numpy, which a command that reads no part does not need

    label, confidence, scores, truncated, error = added
    return error if error is not None else Prediction.from_shown(label, confidence, scores, truncated)
