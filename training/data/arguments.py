"""Flags that say how labelled files are laid out, for every step that reads them."""

import argparse
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from training.data.examples import read_source
from training.data.labels import LabelMap
from training.data.reading import FORMATS
from training.data.table import Table, join_tables
from training.errors import InputError


def add_layout_arguments(parser: argparse._ActionsContainer) -> None:
    """Add the flags. `read_tables` takes them."""
    parser.add_argument("--text-column", metavar="NAME", help="column of the text (default: text, or a guess)")
    parser.add_argument("--label-column", metavar="NAME", help="column of the label (default: label, or a guess)")
    parser.add_argument(
        "--map",
        type=_label_map,
        metavar="THEIRS:OURS,…",
        help="other names for labels, such as 1:negative,5:positive; add other=keep, other=drop or other=NAME for "
        "labels that are not listed",
    )
    parser.add_argument("--format", choices=FORMATS, help="format of the files (default: by their names)")
    parser.add_argument("--delimiter", metavar="CHAR", help="separator of the cells of CSV and TSV, such as ';'")
    parser.add_argument("--encoding", metavar="NAME", help="encoding of the files (default: UTF-8, or by their BOM)")
    parser.add_argument(
        "--quotes",
        action=argparse.BooleanOptionalAction,
        help="whether quotes around cells have a meaning (default: in CSV, and in TSV that pandas wrote)",
    )
    parser.add_argument(
        "--drop-bad-rows", action="store_true", help="leave out rows that cannot be used, instead of stopping"
    )


def _label_map(text: str) -> LabelMap:
    try:
        return LabelMap.parse(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def read_tables(
    sources: Sequence[str | Path],
    args: argparse.Namespace,
    *,
    names: Collection[str] | None = None,
    labelled: bool = True,
    check: bool = True,
) -> Table:
    """Read all sources with the flags of `add_layout_arguments`.

    Without `labelled`, labels are ignored. Raises `InputError` with all rows that cannot be used, unless they are to be
    dropped or without `check`, or if no rows are left.
    """
    options: dict[str, Any] = {"text_column": args.text_column, "label_column": args.label_column}
    options |= {"label_map": args.map, "names": names}
    if not labelled:
        options = {"text_column": args.text_column, "label_column": ""}
    layout = {"format": args.format, "delimiter": args.delimiter, "encoding": args.encoding, "quotes": args.quotes}
    table = join_tables([read_source(source, **options, **layout) for source in sources])
    table = table.note_unused(args.map if labelled else None)
    table = table.drop_bad() if args.drop_bad_rows else table
    return table.check() if check else table
