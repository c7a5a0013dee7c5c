"""`rt-sentiment jobs submit` and `train`: the flags, and what is sent."""

import json
import tomllib
from pathlib import Path
from typing import Any

import click

from ...jobs import PRIORITIES, why_no_name
from ...tables import INPUTS
from ..console import print_json
from ..exits import OK, WRONG_USAGE, Failure
from .client import JobsClient
from .server import call, finish, server_flags

_LAYOUT = ("format", "text_column", "encoding", "delimiter", "no_header", "no_quotes")
_TRAINING_LAYOUT = ("label_column", "map", "quotes", "drop_bad_rows")
_TABLES = ("csv", "tsv", "jsonl", "parquet")
_SCHEDULE = ("priority", "run_at", "every")
_OPTIONS = ("on_bad_row", "prefix", "long_text")


@click.command()
@click.argument("source", metavar="FILE|URL")
@click.option("-c", "--text-column", metavar="NAME|NUMBER", help="Column or field of the text.  [default: text]")
@click.option("--input-format", "format_", type=click.Choice(INPUTS), help="Needed if the name does not say it.")
@click.option("--encoding", metavar="NAME", help="Encoding of the input.  [default: UTF-8, or by its BOM]")
@click.option("--delimiter", metavar="CHAR", help="Separator of the cells of CSV and TSV, such as ';'.")
@click.option("--no-header", is_flag=True, help="The first line of CSV and TSV is a row; columns have numbers.")
@click.option("--no-quotes", is_flag=True, help="Quotes in CSV and TSV are ordinary characters.")
@click.option("--on-bad-row", type=click.Choice(("error", "keep")), help="A row that cannot be read: see `score`.")
@click.option("--prefix", help="Begins the names of the new columns: label, confidence, scores, …")
@click.option("--long-text", type=click.Choice(("truncate", "window")), help="A text that is too long: see `score`.")
@click.option("--priority", type=click.Choice(PRIORITIES), default="normal", show_default=True)
@click.option("--run-at", metavar="TIME", help="Begin then, such as 2027-01-31T04:00:00Z.")
@click.option("--every", metavar="DURATION", help="Repeat, such as PT1H; only with a URL.")
@click.option("--wait", is_flag=True, help="Show the progress, and return when the job is over.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@server_flags
def submit(
    *,
    source: str,
    format_: str | None,
    wait: bool,
    as_json: bool,
    url: str,
    api_key: str | None,
    **flags: Any,
) -> int:
    """Send a job for FILE, which is uploaded, or for URL, which the worker reads. Prints the id of the job."""
    given = {name: value for name, value in ({"format": format_} | flags).items() if value}

    def use(client: JobsClient) -> int:
        if "://" in source:
            others = {name: value for name, value in given.items() if name in _SCHEDULE}
            others["options"] = {name: value for name, value in given.items() if name in _OPTIONS}
            accepted = client.submit_url("inference", source, _layout(given), others)
        else:
            accepted = client.upload("inference", _file(source), given)
        return _accepted(client, accepted, wait=wait, as_json=as_json)

    return call(url, api_key, use)


@click.command()
@click.argument("source", metavar="FILE|URL")
@click.option("--name", required=True, help="Name of the model: letters, digits, . _ and -.")
@click.option("--text-column", metavar="NAME|NUMBER", help="Column of the text.  [default: text, or a guess]")
@click.option("--label-column", metavar="NAME|NUMBER", help="Column of the label.  [default: label, or a guess]")
@click.option("--map", "map_", metavar="THEIRS:OURS,…", help="Other names for labels: see `train --help-all`.")
@click.option("--base", metavar="NAME", help="What to start from, such as sentiment-en.  [default: by the labels]")
@click.option("--preset", metavar="NAME", help="How to train: auto, sentiment, topics, quick, thorough.")
@click.option("--recipe", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="TOML file with settings.")
@click.option("--input-format", "format_", type=click.Choice(_TABLES), help="Needed if the name does not say it.")
@click.option("--encoding", metavar="NAME", help="Encoding of the input.  [default: UTF-8, or by its BOM]")
@click.option("--delimiter", metavar="CHAR", help="Separator of the cells of CSV and TSV, such as ';'.")
@click.option("--quotes/--no-quotes", default=None, help="Whether quotes around cells have a meaning.")
@click.option("--drop-bad-rows", is_flag=True, help="Leave out rows that cannot be used.")
@click.option("--priority", type=click.Choice(("high", "normal")), default="normal", show_default=True)
@click.option("--run-at", metavar="TIME", help="Begin then, such as 2027-01-31T04:00:00Z.")
@click.option("--every", metavar="DURATION", help="Repeat, such as P7D; only with a URL.")
@click.option("--wait", is_flag=True, help="Show the progress, and return when the job is over.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@server_flags
def train(
    *,
    source: str,
    format_: str | None,
    map_: str | None,
    recipe: Path | None,
    wait: bool,
    as_json: bool,
    url: str,
    api_key: str | None,
    **flags: Any,
) -> int:
    """Train on the labels in FILE, which is uploaded, or in URL, which the worker reads. Prints the id of the job.

    `rt-sentiment jobs result ID -o model.tar` then fetches the model.
    """
    if why := why_no_name(flags["name"]):
        raise Failure(f"--name: {why}", WRONG_USAGE)
    named = {"format": format_, "map": map_} | flags
    given = {name: value for name, value in named.items() if value or (name == "quotes" and value is not None)}
    settings = _settings(recipe)

    def use(client: JobsClient) -> int:
        if "://" in source:
            layout = _layout(given)
            others = {name: value for name, value in given.items() if name not in layout}
            accepted = client.submit_url("training", source, layout, others | {"recipe": settings})
        else:
            accepted = client.upload("training", _file(source), given | {"recipe": json.dumps(settings)})
        return _accepted(client, accepted, wait=wait, as_json=as_json)

    return call(url, api_key, use)


def _layout(given: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name in (*_LAYOUT, *_TRAINING_LAYOUT)}


def _file(source: str) -> Path:
    if not Path(source).is_file():
        raise Failure(f"{source}: no such file", WRONG_USAGE)
    return Path(source)


def _settings(recipe: Path | None) -> dict[str, Any]:
    try:
        settings = tomllib.loads(recipe.read_text(encoding="utf-8")) if recipe else {}
    except ValueError as error:  # invalid TOML or invalid UTF-8
        raise Failure(f"{recipe}: not valid TOML: {error}", WRONG_USAGE) from None
    return dict(json.loads(json.dumps(settings, default=str)))  # JSON has no dates; the server refuses them as texts


def _accepted(client: JobsClient, accepted: dict[str, Any], *, wait: bool, as_json: bool) -> int:
    """Print the id of a new job, or wait for its end."""
    if wait:
        return finish(client, accepted["id"], as_json=as_json)
    print_json(accepted) if as_json else click.echo(accepted["id"])
    return OK
