"""`rt-sentiment score`: the flags, and what they mean together."""

import gzip
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...tables import ADDED, INPUTS, OUTPUTS, Columns, converter_for, format_of, source_of
from ..exits import OK, WRONG_USAGE, Failure
from ..flags import MODEL_SETTINGS, read_settings, setting_flags
from .options import row_options
from .output import Output, StandardOutput, target_of

if TYPE_CHECKING:
    from ...tables import Scorer
    from ...types import LongText


@click.command(
    epilog="Exit status: 0 all rows are scored, 1 failure, 2 wrong usage, 3 all rows are written, but some have an "
    "error, 130 stopped with Ctrl-C (go on with --resume)."
)
@click.argument("file", default="-", metavar="[INPUT]")
@click.option("-o", "--out", default="-", metavar="FILE", help="Where to write.  [default: standard output]")
@click.option("-c", "--text-column", metavar="NAME|NUMBER", help="Column or field of the text.  [default: text]")
@click.option("--input-format", type=click.Choice(INPUTS), help="Needed if the name of the input does not say it.")
@click.option("--output-format", type=click.Choice(OUTPUTS), help="Needed if the name of the output does not say it.")
@row_options
@click.option("--resume", is_flag=True, help="Go on where an earlier run was stopped.")
@click.option("--force", is_flag=True, help="Replace the output, and forget an earlier run.")
@click.option("--url", help="Let a running server score, instead of a model in this process.")
@click.option("--api-key", envvar="RT_SENTIMENT_API_KEY", show_envvar=True, help="Key for the server.")
@click.option("--served-model", metavar="NAME", help="Which model of the server, if not its default one.")
@click.option(
    "--connections",
    type=click.IntRange(1, 256),
    default=4,
    show_default=True,
    help="Lists sent to the server at a time.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON on standard output.")
@click.option("-q", "--quiet", is_flag=True, help="Show no progress and no summary.")
@setting_flags(MODEL_SETTINGS)
def score(
    *,
    file: str,
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
    resume: bool,
    force: bool,
    url: str | None,
    api_key: str | None,
    served_model: str | None,
    connections: int,
    as_json: bool,
    quiet: bool,
    **flags: Any,
) -> int:
    """Add the sentiment of each row of INPUT: its label, confidence, scores, whether it was truncated, and its error.

    INPUT is CSV, TSV, JSON lines, Parquet or plain lines, also with .gz at the end of its name; without one, standard
    input. Each row of the input becomes one row of the output, in its order, with all of its columns.

    The output is called FILE only when it is whole. Until then it is FILE.part, and --resume continues it.
    """
    if url is not None and flags["abstain_below"] is not None:
        raise Failure("--abstain-below: with --url, the server decides (its SENTIMENT_ABSTAIN_BELOW)", WRONG_USAGE)
    if url is None and served_model is not None:
        raise Failure("--served-model needs --url; for a model in this process, use --model", WRONG_USAGE)
    source = source_of(file, input_format, encoding, delimiter, header=not no_header, quotes=not no_quotes)
    default = {"lines": "jsonl"}.get(source.format, source.format) if out == "-" else None
    written = format_of(out, output_format or default, "output_format")
    if out == "-" and (resume or as_json or written == "parquet"):
        what = "--resume" if resume else "--json" if as_json else "Parquet"
        raise Failure(f"{what} needs --out with the name of a file", WRONG_USAGE)
    output = _output(out, written, file)
    if isinstance(output, Output) and not force:
        if output.target.exists() and not output.part.exists():
            if resume:
                click.echo(f"{out} is complete already; it was not compared with the input", err=True)
                return OK
            raise Failure(f"{out} exists already; replace it with --force", WRONG_USAGE)
        if output.part.exists() and not resume:
            raise Failure(
                f"{output.part} is left from an earlier run; go on with --resume, or start again with --force",
                WRONG_USAGE,
            )
    from .run import Options, run

    def load() -> "Scorer":
        if url is None:
            from ..scorer import load_scorer

            return load_scorer(read_settings(flags), long_text)
        from .remote import Server, ServerScorer

        return ServerScorer(Server(url, api_key), long_text, connections, served_model)

    options = Options(
        Columns(text_column, on_bad_row == "keep", tuple(prefix + name for name in ADDED)),
        written,
        _gzip if out.lower().endswith(".gz") else bytes,
        long_text,
        resume and not force,
        as_json,
        quiet,
    )
    return run(source, options, output, load)


def _output(out: str, written: str, file: str) -> Output | StandardOutput:
    if out == "-":
        return StandardOutput()
    target = target_of(out)
    if file != "-" and target.exists() and Path(file).exists() and target.samefile(file):
        raise Failure(f"{out}: the output cannot replace the input", WRONG_USAGE)
    return Output(target, converter_for(written))


def _gzip(data: bytes) -> bytes:
    return gzip.compress(data, 6, mtime=0)
