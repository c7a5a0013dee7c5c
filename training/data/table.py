"""Rows of labelled text, with what was left out and why."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

from training.data.labels import LabelMap, common_spellings, order_labels
from training.errors import InputError

_SHOWN = 10  # lines or reasons in a message


@dataclass(frozen=True, slots=True)
class Example:
    """A text with its label, or with a teacher's probability of each label; `source` is the name of its set.

    `line` is where it comes from, for messages; 0 for a text that comes from no file.
    """

    text: str
    label: str | None
    source: str
    scores: Mapping[str, float] | None = None
    line: int = field(default=0, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A row that is not used, and why."""

    place: str  # of which file; empty if there is only one
    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class Table:
    """Rows to train or to measure on.

    `bad` are rows that cannot be used, and `dropped` those that are left out on purpose. `notes` say what was guessed
    about the file. `spellings` has the spellings of labels that were read as another one.
    """

    name: str
    rows: list[Example]
    bad: list[LeftOut] = field(default_factory=list)
    dropped: list[LeftOut] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    hint: str = ""  # what may be wrong if rows are bad
    spellings: dict[str, str] = field(default_factory=dict)
    unit: str = "line"  # or "row", which its rows are counted in
    written: set[str] = field(default_factory=set)  # labels as they are in the data, before a mapping

    def __iter__(self) -> Iterator[Example]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def read(self) -> int:
        """Number of rows in the file."""
        return len(self.rows) + len(self.bad) + len(self.dropped)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in their order: see `order_labels`."""
        return labels_of(self.rows)

    def check(self) -> Self:
        """Raise `InputError` with all bad rows, if there are any, or if there are no rows at all."""
        if self.bad:
            raise InputError(_describe(self))
        if not self.rows:
            raise InputError(f"{self.name}: no rows" + (" are left" if self.dropped else ""))
        return self

    def drop_bad(self) -> Self:
        """Leave out the rows that cannot be used. `dropped` says which."""
        return replace(self, bad=[], dropped=[*self.dropped, *self.bad])

    def keep(self, rows: Iterable[Example], reason: str) -> Self:
        """Keep only some of the rows; the others are dropped for `reason`."""
        kept = list(rows)
        remaining = {id(row) for row in kept}
        place = self.place_of()
        gone = [LeftOut(place(row), row.line, reason) for row in self.rows if id(row) not in remaining]
        return replace(self, rows=kept, dropped=[*self.dropped, *gone])

    def note_unused(self, label_map: LabelMap | None) -> Self:
        """Note the labels in a mapping that no row has."""
        unused = label_map.unused(self.written) if label_map else []
        notes = [f"no row has the label {label}, which the mapping names" for label in unused]
        return replace(self, notes=[*self.notes, *notes])

    def place_of(self) -> Callable[[Example], str]:
        """Return a function that names the set of a row, or "" if there is only one."""
        is_one = len({row.source for row in self.rows}) < 2
        return lambda row: "" if is_one else row.source


def join_tables(tables: Sequence[Table]) -> Table:
    """Return one table with the rows of all. A label has the same spelling in all of them."""
    if len(tables) == 1:
        return tables[0]
    rows, spellings = one_spelling([row for table in tables for row in table.rows])
    return Table(
        ", ".join(table.name for table in tables),
        rows,
        [replace(each, place=each.place or table.name) for table in tables for each in table.bad],
        [replace(each, place=each.place or table.name) for table in tables for each in table.dropped],
        [f"{table.name}: {note}" for table in tables for note in table.notes],
        next((table.hint for table in tables if table.hint), ""),
        {old: new for table in tables for old, new in table.spellings.items()} | spellings,
        written={label for table in tables for label in table.written},
    )


def labels_of(examples: Iterable[Example]) -> tuple[str, ...]:
    """Return the labels that occur, also in scores, in their order: see `order_labels`."""
    labels: dict[str, None] = {}
    for example in examples:
        if example.label is not None:
            labels.setdefault(example.label)
        for label in example.scores or ():
            labels.setdefault(label)
    return order_labels(labels)


def one_spelling(rows: list[Example]) -> tuple[list[Example], dict[str, str]]:
    """Give each label its most frequent spelling; return the others and what they became."""
    best = common_spellings(label for row in rows for label in ([row.label] if row.label else row.scores or ()))
    changed = {old: new for old, new in best.items() if old != new}
    if not changed:
        return rows, {}

    def respelt(row: Example) -> Example:
        scores = None
        if row.scores is not None:
            scores = {best.get(label, label): score for label, score in row.scores.items()}
        return replace(row, label=best[row.label] if row.label else None, scores=scores)

    return [respelt(row) for row in rows], changed


def _describe(table: Table) -> str:
    """Return one message about all bad rows: one line if there is only one of them."""
    hint = f"\nhint: {table.hint}" if table.hint else ""
    if len(table.bad) == 1:
        (only,) = table.bad
        return f"{only.place or table.name}, {table.unit} {only.line}: {only.reason}{hint}"
    lines_by_reason: dict[str, list[str]] = {}
    for each in table.bad:
        lines_by_reason.setdefault(each.reason, []).append(f"{each.place} {each.line}".strip())
    parts = [f"{table.name}: {len(table.bad)} of {table.read} rows cannot be used"]
    parts += [f"  {table.unit} {list_some(lines)}: {reason}" for reason, lines in [*lines_by_reason.items()][:_SHOWN]]
    if len(lines_by_reason) > _SHOWN:
        parts.append(f"  and {len(lines_by_reason) - _SHOWN} other reasons")
    return "\n".join(parts) + hint


def list_some(lines: Sequence[object]) -> str:
    """Return the first of these lines, and how many more there are."""
    more = f" and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else ""
    return ", ".join(map(str, lines[:_SHOWN])) + more
