"""From the records of a file to a table: reads each text and label, and says why it cannot."""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from app.inference.text import normalise
from training.data.columns import LABEL, TEXT, Choice, choose_columns, list_names
from training.data.labels import (
    LabelMap,
    check_covered,
    check_not_missing,
    is_respelt_number,
    read_label,
    respell,
)
from training.data.reading import (
    QUOTED,
    Record,
    column_names,
    explain_layout,
    may_be_quoted,
    open_source,
    read_records,
)
from training.data.table import Example, LeftOut, Table, one_spelling
from training.errors import InputError

_SCORES, _SET = "scores", "source"  # fields of our own format: a teacher's scores, and the name of the set


def read_table(
    path: str | Path,
    *,
    text_column: str | None = None,
    label_column: str | None = None,
    format: str | None = None,  # noqa: A002 - the name of the flag
    delimiter: str | None = None,
    encoding: str | None = None,
    quotes: bool | None = None,
    label_map: LabelMap | None = None,
    names: Collection[str] | None = None,
) -> Table:
    """Read CSV, TSV, JSON lines or Parquet, also with `.gz` at the end of its name.

    Texts are normalised as in the service. `label_column=""` reads texts without labels. Columns, the separator and the
    quotes of a TSV are guessed if only one guess is possible; `notes` says so. With `names`, the labels of a model, any
    other label is bad. Rows that cannot be used are in `bad`: call `check()` to make them an error. Raises
    `InputError` if the file cannot be read, if a column is missing, or if `label_map` does not cover all labels.
    """
    path = Path(path)
    source, notes = open_source(path, format, delimiter, encoding, quotes)
    columns = column_names(source)
    # Only JSON lines are our own format: elsewhere, columns of these names mean other things.
    own = source.format == "jsonl"
    if own and label_column is None and _SCORES in columns and LABEL not in columns:
        label_column = ""
    columns = [name for name in columns if not (own and name in (_SCORES, _SET))]
    columns = columns or [text_column or TEXT, label_column or LABEL]  # no row can be read; the errors say why
    choice = choose_columns(columns, text_column, label_column, str(path))
    records = read_records(source, choice.text)
    if source.format == "tsv" and quotes is None and not source.quotes and may_be_quoted(records):
        quoted = read_records(replace(source, quotes=True), choice.text)
        if not any(record.problem for record in quoted):
            records = quoted
            notes.append(QUOTED)
    notes += [f"the {kind} is in the column {name}" for kind, name in sorted(choice.guessed.items(), reverse=True)]
    hint = explain_layout(source, choice.text, records)
    table = make_table(str(path), records, choice, name_of_set(path), label_map=label_map, names=names, own=own)
    return replace(table, notes=notes, hint=hint, unit="row" if source.format == "parquet" else "line")


def name_of_set(path: Path) -> str:
    name = path.name.removesuffix(".gz")
    return Path(name).stem


def make_table(
    name: str,
    records: Iterable[Record],
    choice: Choice,
    set_name: str,
    *,
    label_map: LabelMap | None,
    names: Collection[str] | None,
    own: bool,
) -> Table:
    """Return the table of these records. If they are `own`, a row can name its set and have a teacher's scores."""
    mapping = label_map or LabelMap()
    rows: list[Example] = []
    bad: list[LeftOut] = []
    dropped: list[LeftOut] = []
    counts: Counter[str] = Counter()
    scored: set[str] = set()  # labels in scores
    numbers: dict[str, str] = {}  # labels such as `1.0`, and what they are read as
    for line, fields, problem in records:
        try:
            if problem:
                raise InputError(problem)
            text = _text(fields, choice.text)
            scores = _scores(fields.get(_SCORES), mapping, names) if own else None
            scored |= {read_label(name) for name in fields[_SCORES]} if scores else set()
            label = None
            if choice.label and not (scores is not None and fields.get(choice.label) is None):
                value = _value(fields, choice.label, LABEL)
                written = read_label(value)
                counts[written] += 1
                if isinstance(value, str) and is_respelt_number(value, written):
                    numbers[value.strip()] = written
                label = _rename(written, mapping, names)
                if label is None:
                    dropped.append(LeftOut("", line, f"its label {written} is not used (other=drop)"))
                    continue
            rows.append(Example(text, label, str((own and fields.get(_SET)) or set_name), scores, line))
        except InputError as error:
            bad.append(LeftOut("", line, str(error)))
    check_covered(mapping, counts, name)
    rows, spellings = one_spelling(rows)
    return Table(name, rows, bad, dropped, spellings=numbers | spellings, written={*counts, *scored})


def _value(fields: Mapping[str, Any], column: str, what: str) -> Any:
    if column not in fields:
        raise InputError(f"no column {column}; the columns are {list_names(list(fields))}")
    if fields[column] is None:
        raise InputError(f"the {what} is empty")
    return fields[column]


def _text(fields: Mapping[str, Any], column: str) -> str:
    value = _value(fields, column, TEXT)
    if not isinstance(value, str):
        raise InputError("the text is not a string")
    text = normalise(value)
    if not text:
        raise InputError("the text has no visible character")
    return text


def _rename(label: str, mapping: LabelMap, names: Collection[str] | None) -> str | None:
    """Return the name of a label in the data, or None to drop the row."""
    name = mapping.rename(label)
    if name is None:
        return None
    if names is not None:
        known = respell(name, names)
        if known is None:
            raise InputError(
                f"unknown label {name!r}; use {', '.join(names)}, or translate other names with --map theirs:ours"
            )
        return known
    if name == label:
        check_not_missing(label)
    return name


def _scores(value: Any, mapping: LabelMap, names: Collection[str] | None) -> dict[str, float] | None:
    """Return the probability of each label. Labels that map to the same name are added up."""
    if value is None:
        return None
    if not isinstance(value, dict) or not value:
        raise InputError("scores must be an object that maps labels to probabilities")
    scores: dict[str, float] = {}
    for label, score in value.items():
        if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
            raise InputError(f"the score of {label} is not a probability")
        name = _rename(read_label(label), mapping, names)
        if name is not None:
            scores[name] = scores.get(name, 0.0) + score
    if not math.isclose(sum(scores.values()), 1, abs_tol=0.01):
        raise InputError(f"the scores sum to {sum(scores.values()):g}, not to 1")
    return scores
