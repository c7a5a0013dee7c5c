"""`rt-sentiment score` for many files on all machines of a Ray: the same rows and columns in, and the same out."""

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click
from pyarrow import fs

from app.cli.console import progress
from app.cli.exits import FAILED, HAS_ERRORS, INTERRUPTED, OK, WRONG_USAGE, Failure
from app.cli.flags import MODEL_SETTINGS, read_settings, setting_flags
from app.cli.score.options import row_options
from app.errors import SentimentError, TableError, TableOptionError
from app.tables import ADDED, INPUTS, OUTPUTS, Columns, converter_for, format_of, source_of
from deploy.ray.files import StoredSource, expand, locate, outputs

if TYPE_CHECKING:
    from app.types import LongText
    from deploy.ray.pipeline import Part, Work


@click.command(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Exit status: as of `rt-sentiment score`. Without RAY_ADDRESS, a Ray is started on this machine.",
)
@click.argument("files", metavar="INPUT")
@click.option("-o", "--out", required=True, metavar="FOLDER", help="Where the files are written, under their names.")
@click.option("-c", "--text-column", metavar="NAME|NUMBER", help="Column or field of the text.  [default: text]")
@click.option("--input-format", type=click.Choice(INPUTS), help="Needed if the names of the files do not say it.")
@click.option("--output-format", type=click.Choice(OUTPUTS), help="[default: that of the input]")
@row_options
@click.option("--actors", type=click.IntRange(1), help="Models in all, each in a process.  [default: as many as fit]")
@click.option("--cores", type=click.IntRange(1), default=1, show_default=True, help="Cores of each model.")
@click.option("--force", is_flag=True, help="Replace files that an earlier run has written.")
@click.option("-q", "--quiet", is_flag=True, help="Show no progress and no summary.")
@setting_flags(MODEL_SETTINGS)
def score(
    *,
    files: str,
    out: str,
    text_column: str | None,
    input_format: str | None,
    output_format: str | None,
    encoding: str,
    delimiter: str,
    no_header: bool,
    no_quotes: bool,
    on_bad_row: str,
    prefix: str,
    long_text: "LongText",
    actors: int | None,
    cores: int,
    force: bool,
    quiet: bool,
    **flags: Any,
) -> int:
    """Add the sentiment of each row of the files that INPUT names: a path, a URL (s3://, gs://) or a glob of either.

    Each file becomes one of the same name in FOLDER. It has its name only when it is whole, and files that are there
    already are not scored again: the same command goes on where an earlier run was stopped.
    """
    inputs = expand(files)
    written = output_format or {"lines": "jsonl"}.get(kind := format_of(inputs[0], input_format, "input_format"), kind)
    targets = outputs(files, inputs, out, written)
    if same := sorted(set(inputs) & set(targets.values())):
        raise Failure(f"{same[0]}: the output cannot replace the input", WRONG_USAGE)
    left = [path for path in inputs if force or not _exists(targets[path])]
    if not left:
        click.echo(f"all files in {out} are complete already", err=True)
        return OK
    options = {"header": not no_header, "quotes": not no_quotes}
    sources = [source_of(path, input_format, encoding, delimiter, **options) for path in left]
    # These import Ray, which --help and wrong usage need not wait for. The first sets what Ray reads then.
    from deploy.ray.cluster import cores_of_all, running  # isort: skip
    from deploy.ray import pipeline

    settings = read_settings(flags)
    columns = Columns(text_column, on_bad_row == "keep", tuple(prefix + name for name in ADDED))
    with running():
        work = pipeline.Work(
            [StoredSource(**{name: getattr(source, name) for name in _FIELDS}) for source in sources],
            columns,
            written,
            long_text,
            settings,
            actors or max(1, cores_of_all() // cores),
            cores,
        )
        with closing(pipeline.run(work)) as parts:
            return _write(work, [targets[path] for path in left], parts, quiet=quiet)


_FIELDS = ("path", "format", "encoding", "delimiter", "header", "quotes")


def _write(work: "Work", targets: list[str], parts: "Iterator[Part]", *, quiet: bool) -> int:
    begun_s, rows, errors = time.monotonic(), 0, 0
    with progress(None, 0, "rows", quiet=quiet) as advance:
        for number, of_file in groupby(parts, key=lambda part: part.file):
            with _new_file(targets[number], work.format) as stream:
                before = rows
                for part in of_file:
                    if part.failure:
                        raise Failure(part.failure)
                    stream.write(part.data)
                    rows, errors = before + part.rows, errors + part.errors
                    advance(rows)
    if not quiet:
        seconds = time.monotonic() - begun_s
        summary = f"{len(targets):,} files, {rows:,} rows, {errors:,} with an error, {seconds:,.1f} s"
        print(f"{summary}, {rows / seconds:,.0f} rows/s", file=sys.stderr)
    return HAS_ERRORS if errors else OK


@contextmanager
def _new_file(target: str, kind: str) -> "Iterator[Any]":
    """Open a file for the output of one input. It gets its name, or is uploaded, only when it is whole."""
    files, path = locate(target)
    is_local = isinstance(files, fs.LocalFileSystem)
    if is_local:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    convert = converter_for(kind)
    with tempfile.TemporaryDirectory(prefix=".rt-sentiment-", dir=Path(path).parent if is_local else None) as folder:
        part, whole = Path(folder, "part"), Path(folder, "whole")
        with part.open("wb") as stream:
            yield stream
        if convert:
            convert(part, whole)
        else:
            whole = part
        if is_local:
            whole.replace(path)
        else:
            fs.copy_files(str(whole), path, fs.LocalFileSystem(), files)


def _exists(target: str) -> bool:
    files, path = locate(target)
    with suppress(FileNotFoundError):
        return bool(files.get_file_info(path).type == fs.FileType.File)
    return False


def main() -> NoReturn:
    """Run the command and exit."""
    try:
        status = score.main(prog_name="python -m deploy.ray.score", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        status = error.exit_code
    except Failure as error:
        print(f"score: {error}", file=sys.stderr)
        status = error.status
    except SentimentError as error:
        why = error.explain(lambda option: "--" + option.replace("_", "-")) if isinstance(error, TableError) else error
        print(f"score: {why}", file=sys.stderr)
        status = WRONG_USAGE if isinstance(error, TableOptionError) else FAILED
    except (click.Abort, KeyboardInterrupt):
        status = INTERRUPTED
    sys.exit(status)


if __name__ == "__main__":
    main()
