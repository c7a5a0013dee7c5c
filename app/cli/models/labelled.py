"""Reads texts, and their right labels where they are known."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from ...tables import Columns, Source, Window, open_reader
from ..exits import WRONG_USAGE, Failure


@dataclass(slots=True)
class LabelledRows:
    """Texts, and what the column of labels says; None without one."""

    texts: list[str] = field(default_factory=list)
    labels: list[str] | None = None


def read_rows(source: Source, column: str | None, label_column: str | None, limit: int | None) -> LabelledRows:
    """Read the first `limit` rows, or all. Raises `Failure` if there is none, or no such column, and `TableError`."""
    rows = LabelledRows(labels=None if label_column is None else [])
    with open_reader(source, Columns(column)) as reader:
        for window in reader.windows(Window()):
            rows.texts += window.texts
            if rows.labels is not None and label_column is not None:
                try:
                    rows.labels += window.column(label_column)
                except KeyError:
                    raise Failure(f"{source.name}: no column {label_column}; use --label-column", WRONG_USAGE) from None
            if limit is not None and len(rows.texts) >= limit:
                del rows.texts[limit:]
                del (rows.labels or [])[limit:]
                break
    if not rows.texts:
        raise Failure(f"{source.name}: it has no rows")
    return rows


def truth_of(rows: LabelledRows, labels_a: Sequence[str], labels_b: Sequence[str]) -> list[str | None]:
    """Return the right label of each row, None where the cell is empty.

    A label is a name, in any letter case, that one of the models has; or its number from 0, if both have the same
    labels. Raises `Failure` for another one.
    """
    if rows.labels is None:
        return [None] * len(rows.texts)
    every = list(dict.fromkeys([*labels_a, *labels_b]))
    names = {name.lower(): name for name in every}
    if list(labels_a) == list(labels_b):
        # A column of integers becomes one of floats if a value is missing.
        names = {f"{number}{end}": name for number, name in enumerate(labels_a) for end in ("", ".0")} | names
    truth: list[str | None] = []
    for number, cell in enumerate(rows.labels, 1):
        label = cell.strip().lower()
        if label and label not in names:
            raise Failure(f"row {number}: its label is none of {', '.join(every)}", WRONG_USAGE)
        truth.append(names[label] if label else None)
    return truth
