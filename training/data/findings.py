"""What a report on a table says, as figures and as text.

It names labels, columns and lines, but shows no text of the data.
"""

import re
import shlex
from dataclasses import asdict, dataclass
from typing import Any

from training.data.table import list_some

_NUMBER = re.compile(r"[+-]?[0-9]*[.,]?[0-9]+(?:[eE][+-]?[0-9]+)?")
FEW = 5  # rows; a label with fewer is hardly learnt, and hardly measured
_SHOWN_LABELS = 60
_FEW_MEASURED = 30
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
class Division:
    """How many rows there are to train on and to measure on, and the labels that the second show little of."""

    to_train_on: int
    to_measure_on: int
    unmeasured: list[str]  # labels without a row to measure on
    alike: dict[str, int]  # labels whose rows to measure on all contain the same text, and how many rows


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
    division: Division | None = None

    @property
    def _are_numbers(self) -> bool:
        return all(_NUMBER.fullmatch(label) for label in self.labels)

    def as_dict(self) -> dict[str, Any]:
        """Return what JSON shows."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Return the report as text, for a terminal."""
        return [*self._rows(), *self._labels(), *self._texts(), *self._classes(), *self._division()]

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
        lines = ["1 label" if len(self.labels) == 1 else f"{len(self.labels)} labels"]
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
            listed = list_some([f"{old!r} as {new!r}" for old, new in self.spellings.items()])
            lines.append(f"! labels that are read in another spelling: {listed}")
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
                + ("; put numbers into ranges first: a model chooses between classes" if self._are_numbers else "")
            )
        lines += [
            f"! {rare!r} ({self.labels[rare]}) and {common!r} ({self.labels[common]}) look alike; "
            f"if they are one label, use --map {_mapping(rare, common)}"
            for rare, common in self.near_equal
        ]
        return lines

    def _texts(self) -> list[str]:
        lines = []
        if self.duplicates:
            repeat = "repeats" if self.duplicates == 1 else "repeat"
            lines.append(f"! {_rows(self.duplicates)} {repeat} another row: the same text with the same label")
        if self.contradictions:
            groups = list_some(["+".join(group) for group in self.contradictions])
            number = len(self.contradictions)
            have = "1 text has" if number == 1 else f"{number:,} texts have"
            lines.append(f"! {have} more than one label: {self.unit} {groups}; decide on one of them")
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

    def _division(self) -> list[str]:
        if self.division is None:
            return []
        each = self.division
        lines = [f"{_rows(each.to_train_on)} to train on, {each.to_measure_on:,} to measure on"]
        if each.to_measure_on < _FEW_MEASURED:
            lines.append(f"! figures on {_rows(each.to_measure_on)} say little: add rows, or cross-validate")
        if each.unmeasured:
            lines.append(f"! no row to measure on, so no figures: {list_some(each.unmeasured)}")
        lines += [
            f"! all {rows} rows of {label} to measure on contain the same text, so its figures say little"
            for label, rows in each.alike.items()
        ]
        return lines


def _mapping(old: str, new: str) -> str:
    """Return what makes two labels one, as `LabelMap.parse` reads it, for a shell."""
    names = f"{old}:{new}".replace(",", "\\,")
    return shlex.quote(f"{names},other=keep")


def _rows(count: int) -> str:
    return f"{count:,} row{'' if count == 1 else 's'}"
