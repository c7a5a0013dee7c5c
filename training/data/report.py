"""Look through a table before training, so that nothing happens silently."""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

from app.inference.artifact import open_artifact
from app.inference.tokenizer import Tokenizer
from training.data.arguments import add_layout_arguments, read_tables
from training.data.findings import FEW, DataReport, Truncated
from training.data.labels import lists_of_labels, meaning, near_equal
from training.data.language import guess_languages
from training.data.overlap import hold_out
from training.data.table import LeftOut, Table

_TOKENISED = 5000  # texts of a sample, which takes a second


def report(
    table: Table,
    *,
    labels: Sequence[str] | None = None,
    base_labels: Collection[str] = (),
    tokenizer: Tokenizer | None = None,
    max_tokens: int | None = None,
) -> DataReport:
    """Look through a table before training.

    `labels` are those that the new model will have (default: those of the table), and `base_labels` those of the model
    to start from. With the tokenizer of that model, the report says how many texts are truncated; `max_tokens` is what
    the training reads of a text (default: what the tokenizer does). Rows that were dropped are those in
    `table.dropped`: see `hold_out`.
    """
    labels = labels or table.labels
    rows_by_label = Counter(row.label for row in table.rows if row.label is not None)
    counts = {label: rows_by_label[label] for label in labels}
    duplicates, contradictions = _repetitions(table)
    keys = {meaning(label) for label in labels}
    missing = [label for label in base_labels if meaning(label) not in keys]
    is_new = len(missing) == len(base_labels)
    return DataReport(
        name=table.name,
        read=table.read,
        used=len(table),
        notes=table.notes,
        dropped=_by_reason(table.dropped),
        bad=_by_reason(table.bad),
        hint=table.hint if table.bad else "",
        labels=counts,
        unlabelled=sum(row.label is None for row in table.rows),
        few={label: rows for label, rows in counts.items() if rows < FEW and rows_by_label},
        spellings=table.spellings,
        near_equal=near_equal(counts),
        lists=lists_of_labels(counts),
        duplicates=duplicates,
        contradictions=contradictions,
        truncated=_truncated(table, tokenizer, max_tokens) if tokenizer else None,
        languages=guess_languages([row.text for row in table.rows]),
        disappearing=[] if is_new else missing,
        replaced=missing if is_new else [],
        unit=table.unit,
    )


def _by_reason(left_out: Sequence[LeftOut]) -> dict[str, list[str]]:
    lines: dict[str, list[str]] = {}
    for each in left_out:
        lines.setdefault(each.reason, []).append(f"{each.place} {each.line}".strip())
    return lines


def _repetitions(table: Table) -> tuple[int, list[list[str]]]:
    """Return how many rows repeat another one, and the lines of texts with more than one label."""
    by_text: dict[str, dict[str, list[str]]] = {}
    set_of = table.place_of()
    for row in table.rows:
        place = f"{set_of(row)} {row.line}".strip()
        by_text.setdefault(row.text.casefold(), {}).setdefault(row.label or "", []).append(place)
    duplicates = sum(len(lines) - 1 for labels in by_text.values() for lines in labels.values())
    contradictions = [
        [lines[0] for lines in named.values()]
        for labels in by_text.values()
        if len(named := {label: lines for label, lines in labels.items() if label}) > 1
    ]
    return duplicates, contradictions


def _truncated(table: Table, tokenizer: Tokenizer, max_tokens: int | None) -> Truncated:
    step = max(1, len(table) // _TOKENISED)
    texts = [row.text for row in table.rows[::step]]
    limit = max_tokens or tokenizer.max_tokens
    encodings = tokenizer.encode_many(texts)
    return Truncated(sum(each.truncated or len(each) > limit for each in encodings), len(texts), limit)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", nargs="+", metavar="SOURCE", help="labelled text (formats: docs/training.md)")
    parser.add_argument(
        "--dev", nargs="+", default=[], metavar="SOURCE", help="text to measure on: rows with it are named"
    )
    parser.add_argument(
        "--model", default="sentiment-en", help="model to start from, for its labels and tokens (default: %(default)s)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the report to FILE")
    add_layout_arguments(parser)


def main(args: argparse.Namespace) -> None:
    table = read_tables(args.data, args, check=False)
    for source in args.dev:
        table = hold_out(table, read_tables([source], args).rows, str(source))
    artifact = open_artifact(args.model)
    tokenizer = Tokenizer.load(artifact.directory, artifact.max_tokens)
    result = report(table, base_labels=artifact.labels, tokenizer=tokenizer)
    print("\n".join(result.lines()))
    if args.json:
        args.json.write_text(json.dumps(result.as_dict(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    if table.bad:
        sys.exit(1)
