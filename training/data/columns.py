"""Which columns of a file have the text and the label."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

from training.errors import UsageError

TEXT, LABEL = "text", "label"
# Names that are common in published data sets, in lower case. A guess needs exactly one of them.
_TEXTS = {
    "text", "review", "review_text", "reviewtext", "sentence", "content", "comment", "message", "body", "tweet",
    "feedback", "utterance", "description", "question", "document", "post",
}  # fmt: skip
_LABELS = {
    "label", "labels", "sentiment", "class", "category", "intent", "star", "stars", "rating", "score", "target",
    "topic", "polarity", "emotion", "tag",
}  # fmt: skip
_LONGEST_NAME = 30  # characters; what is longer may be a text, in a file without a header


@dataclass(frozen=True, slots=True)
class Choice:
    """The columns of text and label; the label is "" for texts without labels. `guessed` are those not named."""

    text: str
    label: str
    guessed: dict[str, str] = field(default_factory=dict)


def choose_columns(names: Sequence[str], text: str | None, label: str | None, where: str) -> Choice:
    """Return the columns that are named, or else those that can only be meant.

    `label=""` means that there are no labels. Raises `UsageError` if a column is missing, or if several may be meant.
    """
    text_column = _named(names, text, where) if text else None
    label_column = _named(names, label, where) if label else label
    text_column = text_column or _only(names, TEXT, _TEXTS, label_column)
    if label_column is None:
        label_column = _only(names, LABEL, _LABELS, text_column) or _other(names, text_column)
    text_column = text_column or _other(names, label_column)
    if label_column is None:
        raise UsageError(_question(names, LABEL, where))
    if text_column is None:
        raise UsageError(_question(names, TEXT, where))
    if text_column == label_column:
        raise UsageError(f"{where}: text and label cannot both be in the column {text_column}")
    guessed = {TEXT: text_column} if not text and text_column != TEXT else {}
    guessed |= {LABEL: label_column} if label is None and label_column != LABEL else {}
    for name in (text_column, label_column):
        if names.count(name) > 1:
            raise UsageError(f"{where}: two columns have the same name: {name}")
    return Choice(text_column, label_column, guessed)


def _only(names: Sequence[str], exact: str, usual: Collection[str], taken: str | None) -> str | None:
    """Return the column with the exact name, or the only one with a usual name."""
    rest = [name for name in names if name != taken]
    if exact in rest:
        return exact
    matches = [name for name in rest if name.strip().lower() in usual]
    return matches[0] if len(matches) == 1 else None


def _other(names: Sequence[str], taken: str | None) -> str | None:
    """Return the column that is left if all others are taken."""
    rest = [name for name in names if name != taken]
    return rest[0] if len(rest) == 1 and (taken is not None) else None


def _named(names: Sequence[str], wanted: str, where: str) -> str:
    if wanted in names:
        return wanted
    if wanted.isdecimal() and 1 <= int(wanted) <= len(names):
        return names[int(wanted) - 1]
    close = get_close_matches(wanted.lower(), [name.lower() for name in names], n=1)
    meant = next((name for name in names if close and name.lower() == close[0]), None)
    hint = _separator(names) or (f"do you mean {meant}?" if meant else "")
    listed = f"{where}: no column {wanted}; the columns are {list_names(names)}"
    raise UsageError(f"{listed}; {hint}" if hint else listed)


def _question(names: Sequence[str], what: str, where: str) -> str:
    if any("\0" in name for name in names):
        return f"{where}: it looks like UTF-16; use --encoding utf-16-le or utf-16-be"
    if any(len(name) > _LONGEST_NAME or not name.strip() for name in names):
        hint = "the first line does not look like names of columns; add one such as label,text"
        return f"{where}: no column {what}; {hint}"
    hint = _separator(names) or f"name it with --{what}-column, or add a header if the first line is a row"
    return f"{where}: no column {what}; the columns are {list_names(names)}; {hint}"


def _separator(names: Sequence[str]) -> str:
    """Return a hint if there is one column whose name looks like several."""
    mark = next((mark for mark in ";\t|," if mark in names[0]), "") if len(names) == 1 else ""
    return f"its separator may be another one: --delimiter {mark!r}" if mark else ""


def list_names(names: Sequence[str]) -> str:
    """Return names for a message; a long one is cut, because it may be a text."""
    shown = [name if len(name) <= _LONGEST_NAME else name[:_LONGEST_NAME] + "…" for name in names]
    return ", ".join(shown[:30]) + (", …" if len(shown) > 30 else "")
