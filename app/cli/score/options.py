"""The options of how rows are read and scored, for each command that scores files."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS = (
    click.option(
        "--encoding", default="", metavar="NAME", help="Encoding of the input.  [default: UTF-8, or by its BOM]"
    ),
    click.option("--delimiter", default="", metavar="CHAR", help="Separator of the cells of CSV and TSV, such as ';'."),
    click.option("--no-header", is_flag=True, help="The first line of CSV and TSV is a row; columns have numbers."),
    click.option("--no-quotes", is_flag=True, help="Quotes in CSV and TSV are ordinary characters."),
    click.option(
        "--on-bad-row",
        type=click.Choice(("error", "keep")),
        default="error",
        show_default=True,
        help="A row that cannot be read ends the run, or is kept with its error.",
    ),
    click.option("--prefix", default="", help="Begins the names of the new columns: label, confidence, scores, …"),
    click.option(
        "--long-text",
        type=click.Choice(("truncate", "window")),
        default="truncate",
        show_default=True,
        help="Of a text that is too long for the model: read its beginning, or all of it in windows.",
    ),
)


def row_options(command: F) -> F:
    """Add these options to a command."""
    for option in reversed(_OPTIONS):  # the last decorator is applied first
        command = option(command)
    return command
