"""What is in a table: a report before training, so that nothing happens silently.

It names labels, columns and lines, but shows no text.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from app.inference.artifact import open_artifact
from app.inference.tokenizer import Tokenizer
from training.data.arguments import add_layout_arguments, read_tables
from training.data.labels import label_key, lists_of_labels, near_equal
from training.data.language import guess_languages
from training.data.overlap import hold_out
from training.data.table import LeftOut, Table, list_some

FEW = 5  # rows; a label with fewer is hardly learnt, and hardly measured
_TOKENISED = 5000  # texts of a sample, which takes a second
_SHOWN_LABELS = 60
_MANY_LABELS = 20  # fewer are plausible in any number of rows
_MOST_IN_LANGUAGE = 0.6
KEEP_LABELS = "to keep it, add rows with this label, or use --keep-labels"


@dataclass(frozen=True, slots=True)
class Truncated:
    """How many texts have more tokens than the model reads."""

    texts: int
    of: int
    max_tokens: int

    @property
    def share(self) -> float:
        return self.texts / self.of if self.of else 0.0


@dataclass(frozen=True, slots=True)
class DataReport:
    """Figures of a table. Groups of `contradictions` are lines with the same text and different labels."""

    name: str
    read: int
    used: int
    notes: list[str]
    dropped: dict[str, list[str]]  # lines by reason
    bad: dict[str, list[str]]  # lines by reason, of rows that cannot be used
    hint: str  # what may be wrong if rows are bad
    labels: dict[str, int]  # rows by label, in the order of the labels
    unlabelled: int
    few: dict[str, int]
    spellings: dict[str, str]
    near_equal: list[tuple[str, str]]
    lists: list[str]  # labels that seem to be several
    duplicates: int
    contradictions: list[list[str]]
    truncated: Truncated | None
    languages: dict[str, float]
    disappearing: list[str]
    replaced: list[str]
    unit: str = "line"

    def as_dict(self) -> dict[str, Any]:
        """Return what JSON shows."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Return the report as text, for a terminal."""
        return [*self._rows(), *self._labels(), *self._texts(), *self._classes()]

    def _rows(self) -> list[str]:
        lines = [f"{self.name}: {_rows(self.read)} read, {self.used:,} used"]
        lines += [f"  {note}" for note in self.notes]
        lines += [
            f"  {_rows(len(where))} dropped: {why}: line {list_some(where)}" for why, where in self.dropped.items()
        ]
        lines += [
            f"! {_rows(len(at))} cannot be used: {why}: {self.unit} {list_some(at)}" for why, at in self.bad.items()
        ]
        lines += [f"  hint: {self.hint}"] if self.hint else []
        return lines

    def _labels(self) -> list[str]:
        width = max(map(len, self.labels), default=0)
        total = max(1, sum(self.labels.values()))
        lines = [f"{len(self.labels)} labels"]
        lines += [
            f"  {label:{width}}  {rows:7,}  {100 * rows / total:5.1f} %"
            for label, rows in [*self.labels.items()][:_SHOWN_LABELS]
        ]
        if len(self.labels) > _SHOWN_LABELS:
            lines.append(f"  and {len(self.labels) - _SHOWN_LABELS} more")
        if self.unlabelled:
            lines.append(f"  {_rows(self.unlabelled)} without a label, with scores of a teacher")
        if self.few:
            listed = ", ".join(f"{label} ({rows})" for label, rows in self.few.items())
            lines.append(f"! fewer than {FEW} rows: {listed}; add rows, or map these labels to another")
        if self.spellings:
            listed = ", ".join(f"{old!r} as {new!r}" for old, new in self.spellings.items())
            lines.append(f"! labels that differ only in case or spaces were read as one: {listed}")
        if self.lists:
            lines.append(
                f"! some rows seem to have several labels: {list_some(self.lists)}; a model gives one label to a text, "
                "so decide on one of them"
            )
        if len(self.labels) < 2:
            lines.append("! a training needs at least two labels")
        elif len(self.labels) > max(_MANY_LABELS, self.used / FEW):
            lines.append(
                f"! {len(self.labels)} labels in {_rows(self.used)}: is it the right column? see --label-column"
            )
        lines += [
            f"! {rare!r} ({self.labels[rare]}) and {common!r} ({self.labels[common]}) look alike; "
            f"if they are one label, use map={rare}:{common},other=keep"
            for rare, common in self.near_equal
        ]
        return lines

    def _texts(self) -> list[str]:
        lines = []
        if self.duplicates:
            lines.append(f"! {_rows(self.duplicates)} repeat another row: the same text with the same label")
        if self.contradictions:
            groups = list_some(["+".join(group) for group in self.contradictions])
            number = len(self.contradictions)
            lines.append(f"! {number:,} texts have more than one label: {self.unit} {groups}; decide on one of them")
        if self.truncated and self.truncated.texts:
            cut = self.truncated
            lines.append(
                f"! {cut.texts:,} of {cut.of:,} texts ({100 * cut.share:.0f} %) have more than the {cut.max_tokens} "
                "tokens that the model is trained on; only a part of them is read"
            )
        if not self.languages:
            lines.append("the language of the texts was not recognised")
        else:
            best, share = next(iter(self.languages.items()))
            if share < _MOST_IN_LANGUAGE:
                mixed = ", ".join(f"{name} {100 * part:.0f} %" for name, part in [*self.languages.items()][:4])
                lines.append(f"! the texts seem to be in several languages: {mixed}")
            elif best != "English":
                lines.append(
                    f"! most texts look {best} ({100 * share:.0f} %); the embedded model was trained on English"
                )
            else:
                lines.append(f"most texts look English ({100 * share:.0f} %)")
        return lines

    def _classes(self) -> list[str]:
        if self.disappearing:
            names = ", ".join(self.disappearing)
            return [
                f"! no row has the label {names} of the base model, so the new model will not have it; {KEEP_LABELS}"
            ]
        if self.replaced:
            return [f"the labels are new: they replace those of the base model ({', '.join(self.replaced)})"]
        return []


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
    keys = {label_key(label) for label in labels}
    missing = [label for label in base_labels if label_key(label) not in keys]
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


def _rows(count: int) -> str:
    return f"{count:,} row{'' if count == 1 else 's'}"


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
