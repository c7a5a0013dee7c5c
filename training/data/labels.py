"""Names of labels: which spellings are one label, which order labels have, and how a mapping renames them.

Labels stay as written. Spellings that differ only in case, spaces or invisible characters are one label, as are numbers
of the same value: 1, `1`, 1.0 and `1.0`. But `1.10` is not `1.1`, because versions are no numbers.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from training.errors import InputError

LABELS = ("negative", "neutral", "positive")  # of the embedded model, in its order
# What they are called in short and in other European languages.
_MEANINGS = {
    "negative": re.compile(r"neg|n[eé]gat[iíy]+e?[vfw]\w*"),
    "neutral": re.compile(r"neu|neutr(?:[aá]+l\w*|[aeo])|nötr"),
    "positive": re.compile(r"pos|po[sz][iíy]t[iíy]+e?[vfw]\w*"),
}
# Without leading zeros, which would make it a code.
_INTEGER = re.compile(r"([+-]?(?:0|[1-9][0-9]{0,99}))(?:\.0*)?")
_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?")
_MISSING = {"nan", "null", "inf", "infinity"}
_MOST_OTHER_LETTERS = 4  # two letters that are replaced
KEEP, DROP = "keep", "drop"


def label_key(label: str) -> str:
    """Return the form that all spellings of a label have in common."""
    return _integer(" ".join(_visible(unicodedata.normalize("NFKC", label)).lower().split()))


def meaning(label: str) -> str:
    """Return which of `LABELS` a label means, such as `negative` for `négatif`, or else its key."""
    key = label_key(label)
    return next((name for name, pattern in _MEANINGS.items() if pattern.fullmatch(key)), key)


def _integer(name: str) -> str:
    # A column of integers becomes one of floats if a value is missing.
    integer = _INTEGER.fullmatch(name)
    return str(int(integer[1])) if integer else name


def _visible(text: str) -> str:
    return "".join(char for char in text if unicodedata.category(char) != "Cf")


def read_label(value: Any) -> str:
    """Return a label as it is written in the data, without spaces around it. Raises `InputError` if it is none."""
    if isinstance(value, list | tuple | set):
        raise InputError("the label is a list; a row must have exactly one label")
    if not isinstance(value, str | int | float):
        raise InputError(f"the label is a {type(value).__name__}, not a name or a number")
    if isinstance(value, bool):
        return str(value).lower()
    # Without an exponent, so that numbers in JSON with the same value are the same label.
    text = f"{value:.1f}" if isinstance(value, float) and value.is_integer() else str(value)
    label = _integer(" ".join(_visible(text).split()))
    if not label_key(label):
        raise InputError("the label is empty")
    return label


def is_respelt_number(value: str, label: str) -> bool:
    """Return whether a value is a number that `read_label` writes in another way, such as `1.0` as `1`."""
    return value.strip() != label and _INTEGER.fullmatch(value.strip()) is not None


def check_not_missing(label: str) -> None:
    """Raise `InputError` for a label that stands for a missing value."""
    if label_key(label).lstrip("+-") in _MISSING:
        raise InputError(
            f"the label {label!r} stands for a missing value; if it is a class, use --map {label}:other-name,other=keep"
        )


@dataclass(frozen=True, slots=True)
class LabelMap:
    r"""Other names for labels: `1:negative,5:positive,other=drop`. A comma in a name is written as `\,`.

    `other` says what happens to labels that are not listed: `keep` them, `drop` their rows, or the name that all of
    them get. Without it, such a label is an error.
    """

    names: Mapping[str, str] = field(default_factory=dict)  # from the key of a label in the data
    other: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises `InputError` if it is not a list of `theirs:ours`."""
        names: dict[str, str] = {}
        other = None
        for part in filter(None, (part.replace("\\,", ",").strip() for part in re.split(r"(?<!\\),", text))):
            if part.startswith("other="):
                other = part.removeprefix("other=").strip()
                if not other:
                    raise InputError(f"the mapping {text!r}: other= needs keep, drop or a name")
                continue
            theirs, _, ours = (piece.strip() for piece in part.rpartition(":"))
            if not theirs or not ours:
                raise InputError(f"the mapping {text!r}: expected THEIRS:OURS, not {theirs or ours}")
            key = label_key(theirs)
            if names.setdefault(key, ours) != ours:
                raise InputError(f"the mapping {text!r}: {theirs} has two names")
        return cls(names, other)

    @classmethod
    def of(cls, names: Mapping[str, str]) -> Self:
        """Return a mapping that keeps labels which are not listed."""
        return cls({label_key(theirs): ours for theirs, ours in names.items()}, KEEP)

    def __bool__(self) -> bool:
        return bool(self.names or self.other)

    def unused(self, labels: Iterable[str]) -> list[str]:
        """Return the labels that have a new name and are not among `labels`."""
        return sorted(self.names.keys() - {label_key(label) for label in labels})

    def covers(self, label: str) -> bool:
        return not self.names or self.other is not None or label_key(label) in self.names

    def rename(self, label: str) -> str | None:
        """Return the new name of a label, or None if its rows are dropped. One that is not covered stays."""
        new = self.names.get(label_key(label))
        if new is not None or self.other in (None, KEEP):
            return label if new is None else new
        return None if self.other == DROP else self.other


def check_covered(label_map: LabelMap, counts: Mapping[str, int], where: str) -> None:
    """Raise `InputError` if the mapping does not say what happens to one of the labels that occur."""
    if left := {label: rows for label, rows in counts.items() if not label_map.covers(label)}:
        listed = ", ".join(f"{label} ({rows} rows)" for label, rows in left.items())
        raise InputError(
            f"{where}: the mapping does not say what happens to {listed}; add them, or other=keep, other=drop or "
            "other=NAME"
        )


def order_labels(labels: Iterable[str]) -> tuple[str, ...]:
    """Return distinct labels in their order.

    Numbers are in numeric order. The labels of the embedded model have its order. All others keep the order in which
    they come.
    """
    distinct = list(dict.fromkeys(labels))
    if all(_NUMBER.fullmatch(label) for label in distinct):
        return tuple(sorted(distinct, key=float))
    if {label_key(label) for label in distinct} <= set(LABELS):
        return tuple(sorted(distinct, key=lambda label: LABELS.index(label_key(label))))
    return tuple(distinct)


def common_spellings(labels: Iterable[str]) -> dict[str, str]:
    """Return, for each spelling that occurs, the most frequent spelling of the same label."""
    counts = Counter(labels)
    best: dict[str, str] = {}
    for spelling, rows in counts.items():
        current = best.setdefault(label_key(spelling), spelling)
        if rows > counts[current]:
            best[label_key(spelling)] = spelling
    return {spelling: best[label_key(spelling)] for spelling in counts}


def near_equal(counts: Mapping[str, int]) -> list[tuple[str, str]]:
    """Return pairs of labels that may be one, with the rarer first: `Refnud` and `Refund`, `a b` and `a_b`.

    Names that differ in one letter, or in the order of two, are such a pair; so are names that differ in two, if one of
    them is rare. Names that differ only in digits are not.
    """
    names = [(label, name, set(name)) for label in counts if (name := re.sub(r"[\W_]", "", label.casefold()))]
    pairs = []
    for place, (label, name, letters) in enumerate(names):
        for other, other_name, other_letters in names[:place]:
            # Most pairs end here, because the distances of all pairs of a thousand names take a minute.
            if abs(len(name) - len(other_name)) > 2 or len(letters ^ other_letters) > _MOST_OTHER_LETTERS:
                continue
            rare, common = sorted((label, other), key=lambda each: counts[each])
            if _look_alike(name, other_name, is_rare=counts[rare] * 5 <= counts[common]):
                pairs.append((rare, common))
    return pairs


def _look_alike(one: str, two: str, *, is_rare: bool) -> bool:
    if one == two:
        return True
    if re.sub(r"\d", "", one) == re.sub(r"\d", "", two):
        return False
    shorter = min(len(one), len(two))
    allowed = 0 if shorter < 4 else 2 if is_rare and shorter >= 6 else 1
    return abs(len(one) - len(two)) <= allowed and edit_distance(one, two) <= allowed


def lists_of_labels(counts: Collection[str]) -> list[str]:
    """Return labels that seem to be several in one cell, because each part of them is a label of other rows."""
    keys = {label_key(label) for label in counts}
    found = []
    for label in counts:
        parts = [label_key(part) for part in re.split(r"[,;|]", label)]
        if len(parts) > 1 and keys.issuperset(parts):
            found.append(label)
    return found


def edit_distance(one: str, two: str) -> int:
    """Return how many letters must be inserted, removed, replaced or exchanged with their neighbour."""
    before: list[int] = []
    row = list(range(len(two) + 1))
    for i, letter in enumerate(one, 1):
        before, above, row = row, before, [i]
        for j, other in enumerate(two, 1):
            best = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == two[j - 2] and one[i - 2] == other:
                best = min(best, above[j - 2] + 1)
            row.append(best)
    return row[-1]


def respell(label: str, names: Collection[str]) -> str | None:
    """Return the one of `names` that is the same label, or None."""
    if label in names:
        return label
    key = label_key(label)
    return next((name for name in names if label_key(name) == key), None)
