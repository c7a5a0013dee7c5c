"""`rt-sentiment jobs result`: in which format a result is fetched, and where it is written."""

import gzip
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, cast

from ..exits import WRONG_USAGE, Failure
from ..score.output import target_of

_ENDINGS = {".csv": "csv", ".tsv": "tsv", ".tab": "tsv", ".ndjson": "ndjson", ".jsonl": "ndjson"}
_ENDINGS |= {".parquet": "parquet", ".pq": "parquet", ".tar": "tar"}


def format_for(out: str, named: str | None) -> str | None:
    """Return the format that the name of the file says, or that is named; None leaves it to the server."""
    if out == "-":
        return named
    said = _ENDINGS.get(Path(out.lower().removesuffix(".gz")).suffix)
    if said and named and said != named:
        raise Failure(f"{out}: the name says {said}, and --format {named}", WRONG_USAGE)
    if not (said or named):
        raise Failure(f"{out}: the format is not known by its name; set --format", WRONG_USAGE)
    if (said or named) == "parquet" and _is_gzip(out):
        raise Failure(f"{out}: Parquet is compressed already; gzip is not supported around it", WRONG_USAGE)
    return said or named


def file_for(out: str, *, force: bool) -> Path | None:
    """Return where to write; None means standard output. Raises `Failure` for a file that exists, without `force`."""
    if out == "-":
        return None
    target = target_of(out)
    if target.exists() and not force:
        raise Failure(f"{out} exists already; replace it with --force", WRONG_USAGE)
    return target


def write(pieces: Iterable[bytes], target: Path | None) -> None:
    """Write to a file, which has its name only when it is whole, or to standard output."""
    if target is None:
        sys.stdout.buffer.writelines(pieces)
        return
    part = target.with_name(target.name + ".part")
    try:
        with part.open("wb") as file:
            if _is_gzip(target.name):
                with gzip.GzipFile("", "wb", 6, file, mtime=0) as packed:
                    cast("BinaryIO", packed).writelines(pieces)
            else:
                file.writelines(pieces)
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _is_gzip(name: str) -> bool:
    return name.lower().endswith(".gz")
