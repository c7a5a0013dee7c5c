"""A window: consecutive rows of the input, and the views of them that the output formats need."""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import TableError


@dataclass(slots=True)
class Rows(ABC):
    """Consecutive rows. `problems` says, by place, why a row cannot be read; its text is not scored."""

    source: str
    texts: list[str] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)  # where each row begins, from 1
    problems: dict[int, str] = field(default_factory=dict)
    last: int = 0  # the number of the last row in the whole input, from 1
    digest: str = ""  # of the whole input up to the last row

    def __len__(self) -> int:
        return len(self.texts)

    @abstractmethod
    def cells(self, names: Sequence[str]) -> Iterable[list[str]]:
        """Return each row as text, one cell for each of the names."""

    @abstractmethod
    def members(self) -> Iterable[str]:
        """Return each row as the inside of a JSON object, without its braces."""

    @abstractmethod
    def column(self, name: str) -> list[str]:
        """Return one column as text. Raises `KeyError` if there is none of that name."""

    @property
    def schema(self) -> Any:
        """The schema of Arrow, of rows that have one."""
        return None

    @property
    def fields(self) -> Iterable[str]:
        """The names of the columns, where rows have their own."""
        return ()


@dataclass(slots=True)
class TableRows(Rows):
    """Rows of cells that are all text: CSV, TSV and lines."""

    names: list[str] = field(default_factory=list)
    table: list[list[str]] = field(default_factory=list)

    def cells(self, names: Sequence[str]) -> Iterable[list[str]]:  # noqa: ARG002 - they are in this order
        return self.table

    def column(self, name: str) -> list[str]:
        if name not in self.names:
            raise KeyError(name)
        index = self.names.index(name)
        return [row[index] for row in self.table]

    def members(self) -> Iterable[str]:
        return [members_of(dict(zip(self.names, row, strict=True))) for row in self.table]


@dataclass(slots=True)
class JsonRows(Rows):
    """JSON objects, as written and parsed."""

    written: list[str] = field(default_factory=list)
    objects: list[dict[str, Any]] = field(default_factory=list)

    def cells(self, names: Sequence[str]) -> Iterable[list[str]]:
        known = set(names)
        for line, row in zip(self.lines, self.objects, strict=True):
            if not row.keys() <= known:
                new = ", ".join(sorted(row.keys() - known))
                raise TableError(
                    f"{self.source}, line {line}: the field {new} is not in the first rows, and the output has no "
                    "column for it; write JSONL, or read the input from a file"
                )
            yield [as_text(row.get(name)) for name in names]

    def column(self, name: str) -> list[str]:
        return [as_text(row[name]) for row in self.objects]

    def members(self) -> Iterable[str]:
        return [text.strip()[1:-1].strip() for text in self.written]

    @property
    def schema(self) -> Any:
        """The schema of Arrow, of rows that have one."""
        return None

    @property
    def fields(self) -> Iterable[str]:
        return dict.fromkeys(name for row in self.objects for name in row)


def members_of(row: dict[str, Any]) -> str:
    """Return the inside of a JSON object, without its braces."""
    return json.dumps(row, ensure_ascii=False, default=str)[1:-1]


def as_text(value: object) -> str:
    """Return a value as the text of a cell: a string as it is, other values as JSON."""
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False, default=str)
