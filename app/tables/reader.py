"""The contract of a reader, and how the text column is chosen."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import TableOptionError
from .formats import Source
from .rows import Rows

ADDED = ("label", "confidence", "scores", "truncated", "error")


@dataclass(frozen=True, slots=True)
class Window:
    """How many rows are in memory at once: at most `rows`, and no more once they have so many characters."""

    rows: int = 2048
    chars: int = 200_000  # of text: a few seconds of work, which is lost when the process is killed
    all_chars: int = 8_000_000  # of all columns, as they are in the file


@dataclass(frozen=True, slots=True)
class Columns:
    """Which column has the text, what happens to a bad row, and which names the output adds."""

    text: str | None = None  # a name or a number from 1
    keep_bad_rows: bool = False
    added: tuple[str, ...] = ()


class Reader(ABC):
    """An open input. `names` are its columns, or None if each row has its own fields."""

    names: list[str] | None = None
    schema: Any = None  # of Arrow, for Parquet

    @abstractmethod
    def windows(self, window: Window) -> Iterator[Rows]:
        """Yield all rows, in order."""


def choose_column(names: Sequence[str], wanted: str | None, source: Source) -> int:
    """Return the index of the text column."""
    listed = ", ".join(names)
    if wanted is None:
        if len(names) == 1:
            return 0
        if names.count("text") != 1:
            raise TableOptionError(
                f"{source.name}: its columns are {listed}", "name the one with the text: {text_column}"
            )
        return names.index("text")
    if names.count(wanted) == 1:
        return names.index(wanted)
    if wanted in names:
        raise TableOptionError(f"{source.name}: {wanted} is the name of several columns; use its number, from 1")
    if wanted.isdecimal() and 1 <= int(wanted) <= len(names):
        return int(wanted) - 1
    if any("\0" in name for name in names):
        raise TableOptionError(f"{source.name}: it looks like UTF-16", "use {encoding} utf-16-le or utf-16-be")
    advice = "with another separator, use {delimiter}" if len(names) == 1 and source.format in ("csv", "tsv") else ""
    raise TableOptionError(f"{source.name}: no column {wanted}; its columns are {listed}", advice)


def check_names(names: Sequence[str], added: Sequence[str], name: str) -> None:
    """Refuse a column that the output would have twice."""
    if clash := sorted(set(names) & set(added)):
        already = f"{name}: it already has the column {', '.join(clash)}"
        raise TableOptionError(already, "name the new ones with {prefix}")
