"""`rt-sentiment models compare`: says whether a version is better than another one."""

from contextlib import closing
from typing import TYPE_CHECKING, Any

import click

from ...tables import INPUTS, source_of
from ..console import print_json, progress
from ..exits import OK, WRONG_USAGE, Failure
from ..flags import read_settings, setting_flags
from .live import GIVE_UP_S

if TYPE_CHECKING:
    from ...tables import Scorer

_SETTINGS = ("backend", "device", "precision")


@click.command()
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.argument("file", required=False, metavar="[FILE]")
@click.option("-c", "--column", metavar="NAME|NUMBER", help="Column or field of the text.  [default: text]")
@click.option(
    "-l", "--label-column", metavar="NAME", help="Column of the right label, which may be empty in some rows."
)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Read only the first N rows.")
@click.option("--input-format", type=click.Choice(INPUTS), help="Needed if the name of the file does not say it.")
@click.option("--encoding", default="", metavar="NAME", help="Encoding of the file.  [default: UTF-8, or by its BOM]")
@click.option("--delimiter", default="", metavar="CHAR", help="Separator of the cells of CSV and TSV, such as ';'.")
@click.option("--no-quotes", is_flag=True, help="Quotes in CSV and TSV are ordinary characters.")
@click.option("--url", help="Without FILE: compare what this server has counted.")
@click.option("--api-key", envvar="RT_SENTIMENT_API_KEY", show_envvar=True, help="Key for the server.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@setting_flags(_SETTINGS)
def compare(
    *,
    a: str,
    b: str,
    file: str | None,
    column: str | None,
    label_column: str | None,
    limit: int | None,
    input_format: str | None,
    encoding: str,
    delimiter: str,
    no_quotes: bool,
    url: str | None,
    api_key: str | None,
    as_json: bool,
    **flags: Any,
) -> int:
    """Compare two versions of a model, and say in words whether one of them is better.

    With FILE (CSV, TSV, JSON lines, Parquet or plain lines), A and B are embedded models, directories or hub names.
    Both predict its texts here, in turn. If a column has the right labels, their accuracies are compared, too.

    With --url, A and B are versions that the server has, as NAME@VERSION, and are compared by its counts.
    """
    if (file is None) == (url is None):
        raise Failure("give either a FILE with texts, or --url of a server", WRONG_USAGE)
    if url is not None:
        return _compare_counts(url, api_key, a, b, as_json=as_json)
    assert file is not None
    source = source_of(file, input_format, encoding, delimiter, quotes=not no_quotes)
    from .labelled import read_rows, truth_of

    rows = read_rows(source, column, label_column, limit)
    from .report import show, to_json
    from .trial import try_both

    scorers = [_load(name, flags) for name in (a, b)]
    truth = truth_of(rows, scorers[0].labels, scorers[1].labels)
    with progress(len(rows.texts), 0, "texts", quiet=as_json) as advance:
        trial = try_both(scorers[0], scorers[1], rows.texts, truth, advance)
    if as_json:
        print_json(to_json(trial))
    else:
        show(trial)
    return OK


def _load(name: str, flags: dict[str, Any]) -> "Scorer":
    from ..scorer import load_scorer

    return load_scorer(read_settings(flags | {"model": name}), "truncate")


def _compare_counts(url: str, api_key: str | None, a: str, b: str, *, as_json: bool) -> int:
    from ...comparison import compare_counts
    from ..score.remote import Server
    from .count_report import show, to_json
    from .counted import read_versions

    with closing(Server(url, api_key, give_up_s=GIVE_UP_S)) as server:
        comparison = compare_counts(*read_versions(server, (a, b)))
    if as_json:
        print_json(to_json(comparison, a, b))
    else:
        show(comparison, a, b)
    return OK
