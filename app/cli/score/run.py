"""Runs `score`: from the rows of the input to the rows of the output."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from ...errors import TableOptionError
from ...tables import (
    Columns,
    Encoder,
    Rows,
    Scan,
    Scorer,
    Source,
    encoder_for,
    open_reader,
    scan,
    score_windows,
    skip_rows,
)
from ..console import print_json, progress
from ..exits import HAS_ERRORS, INTERRUPTED, OK, WRONG_USAGE, Failure
from .output import Output, StandardOutput, State, check_same


@dataclass(frozen=True, slots=True)
class Options:
    """What is done with the rows."""

    columns: Columns
    format: str  # of the output
    compress: Callable[[bytes], bytes]
    long_text: str
    resume: bool
    as_json: bool
    quiet: bool


def run(source: Source, options: Options, output: Output | StandardOutput, load: Callable[[], Scorer]) -> int:
    """Score all rows, and return the exit status."""
    old = output.read_state() if options.resume and isinstance(output, Output) else None
    unknown = Scan(old.total, old.names) if old else Scan(None, None)
    found = unknown if old or not source.is_file else scan(source, options.columns)
    scorer = load()
    job = _describe(source, options, scorer)
    if old and isinstance(output, Output):
        check_same(old.job, job, output.target)
    with open_reader(source, options.columns) as reader:
        windows, names = reader.windows(scorer.window), reader.names or found.names
        if old:
            try:
                skip_rows(windows, old.rows, old.digest, source)
            except TableOptionError as error:
                raise Failure(f"{error}; start again with --force", WRONG_USAGE) from None
        elif names is None and options.format != "jsonl":  # a pipe of JSON: its first rows say which columns there are
            first = next(windows, None)
            names, windows = list(first.fields) if first else [], chain([first] if first else [], windows)
        encoder = encoder_for(
            options.format, source, names or [], options.columns.added, scorer.labels, schema=reader.schema
        )
        if isinstance(output, Output):
            output.open(old or State(job, total=found.rows, names=names))
        if not output.state.size:
            output.append(options.compress(encoder.header()), rows=0, errors=0, digest="")
        return _write(windows, scorer, encoder, output, options)


def _write(
    windows: Iterator[Rows], scorer: Scorer, encoder: Encoder, output: Output | StandardOutput, options: Options
) -> int:
    state = output.state
    before, begun_s = state.rows, time.monotonic()
    try:
        with (
            progress(state.total, before, "rows", quiet=options.quiet) as advance,
            contextlib.closing(score_windows(windows, scorer)) as scored,
        ):
            for rows, results in scored:
                errors = sum(isinstance(result, str) for result in results)
                data = options.compress(encoder.encode(rows, results))
                output.append(data, rows=rows.last, errors=errors, digest=rows.digest)
                advance(rows.last)
        output.finish()
    except KeyboardInterrupt:
        output.pause()
        if isinstance(output, Output) and not options.quiet:
            print(f"stopped after {state.rows:,} rows; the same command with --resume goes on", file=sys.stderr)
        return INTERRUPTED
    except BaseException:
        with contextlib.suppress(Failure):  # the error that is on its way says more
            output.pause()
        raise
    seconds = time.monotonic() - begun_s
    if options.as_json:
        figures = {"rows": state.rows, "errors": state.errors, "seconds": round(seconds, 3)}
        print_json(figures | {"rows_per_s": round((state.rows - before) / seconds, 1)})
    elif not options.quiet:
        rate = f"{(state.rows - before) / seconds:,.0f} rows/s"
        print(f"{state.rows:,} rows, {state.errors:,} with an error, {seconds:,.1f} s, {rate}", file=sys.stderr)
    return HAS_ERRORS if state.errors else OK


def _describe(source: Source, options: Options, scorer: Scorer) -> dict[str, Any]:
    """Return everything that the output depends on, apart from the rows. It must be the same after a stop."""
    about_source = {f"input {name}": value for name, value in asdict(source).items() if name != "path"}
    columns = options.columns
    return {
        **about_source,
        "bytes of the input": Path(source.path).stat().st_size if source.is_file else None,
        "text column": columns.text,
        "bad rows": "kept" if columns.keep_bad_rows else "refused",
        "new columns": list(columns.added),
        "output format": options.format,
        "long text": options.long_text,
        "rows at once": asdict(scorer.window),
        **scorer.description,
    }
