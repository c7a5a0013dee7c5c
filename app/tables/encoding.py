"""Chooses the encoder of an output format."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..errors import TableOptionError
from .formats import DELIMITERS, Source
from .rows import Rows
from .writing import Encoder, JsonEncoder, Result, TableEncoder


def encoder_for(
    target: str,
    source: Source,
    names: Sequence[str],
    added: Sequence[str],
    labels: Sequence[str],
    *,
    schema: Any = None,
) -> Encoder:
    """Return the encoder of the format `target` for rows of `source`.

    `names` are its columns, `added` those that the output has in addition, `labels` the classes of the model. `schema`
    is the Arrow schema of a Parquet source.
    """
    if target in ("jsonl", "parquet") and (twice := sorted({name for name in names if names.count(name) > 1})):
        raise TableOptionError(f"{source.name}: the column {', '.join(twice)} is there twice; write CSV or TSV")
    if target == "parquet" and any("\ud800" <= char <= "\udfff" for name in names for char in name):
        raise TableOptionError(f"{source.name}: the name of a column has half a surrogate pair; write CSV or TSV")
    if target == "jsonl":
        return JsonEncoder(added)
    if target == "parquet":
        from .parquet import ArrowEncoder

        return ArrowEncoder(names, added, labels, schema)
    is_table = source.format in DELIMITERS
    return TableEncoder(
        names,
        added,
        delimiter=source.delimiter if source.format == target else DELIMITERS[target],
        header=source.header or not is_table,
        quotes=source.quotes or target != "tsv" or source.format != "tsv",
    )


def stream_rows(encoder: Encoder, parts: Iterable[tuple[Rows, Sequence[Result]]]) -> Iterator[bytes]:
    """Yield the bytes of a whole file."""
    if not isinstance(encoder, JsonEncoder | TableEncoder):
        from .parquet import ArrowEncoder, stream_parquet

        assert isinstance(encoder, ArrowEncoder)
        yield from stream_parquet(encoder, parts)
        return
    yield encoder.header()
    for rows, results in parts:
        yield encoder.encode(rows, results)


def converter_for(target: str) -> Callable[[Path, Path], None] | None:
    """Return the function that makes the final file from what an encoder wrote, if these differ."""
    if target != "parquet":
        return None
    from .parquet import convert

    return convert
