"""What a job is to do, as its caller says it."""

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, BinaryIO, Literal, Self

from ..errors import InvalidInput, TableOptionError
from ..tables import ADDED, Columns, Source, source_of
from .sources import JobSource

EMBEDDED = ("sentiment-en", "encoder")  # what a training can start from on each worker
MODEL_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
_MAX_STEM = 128  # names of files have a limit of 255 bytes


def why_no_name(name: str, *, is_new: bool = True) -> str | None:
    """Return why this cannot be the name of a model, or of a new one; None if it can."""
    if not re.fullmatch(MODEL_NAME, name):
        return "expected letters, digits, . _ and -, at most 64, of which the first is a letter or a digit"
    if is_new and name in EMBEDDED:
        return f"{name} is the name of a model that comes with rt-sentiment; choose another"
    return None


@dataclass(frozen=True, slots=True)
class InferenceRequest:
    """The rows to score and how to read them. The options have the names of the flags of `rt-sentiment score`."""

    name: str  # of the file, without its folder
    digest: str = ""  # of the request: the same key with another digest is an error
    url: str | None = None  # None: the rows are in the store
    format: str | None = None
    text_column: str | None = None
    encoding: str = ""
    delimiter: str = ""
    no_header: bool = False
    no_quotes: bool = False
    on_bad_row: Literal["error", "keep"] = "error"
    prefix: str = ""
    long_text: Literal["truncate", "window"] = "truncate"

    def check(self) -> None:
        """Raise `InvalidInput` if the options contradict each other."""
        try:
            self._layout()
        except TableOptionError as error:
            raise InvalidInput(error.explain()) from None

    def source(self, opener: Callable[[], BinaryIO], check: Callable[[], object] = lambda: None) -> JobSource:
        """Return the input, which `opener` opens. `check` is called before each read."""
        return JobSource(**asdict(self._layout()), opener=opener, check=check)

    def _layout(self) -> Source:
        return source_of(
            self.name,
            self.format,
            self.encoding,
            self.delimiter,
            header=not self.no_header,
            quotes=not self.no_quotes,
            option="format",
        )

    @property
    def columns(self) -> Columns:
        added = tuple(self.prefix + name for name in ADDED)
        return Columns(self.text_column, self.on_bad_row == "keep", added)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        return cls(**values)


@dataclass(frozen=True, slots=True)
class TrainingRequest:
    """The labelled rows to train on, and how. The options have the names of the flags of `rt-sentiment train`."""

    file: str  # the name of the file, without its folder
    name: str  # of the model
    digest: str = ""
    url: str | None = None
    format: str | None = None
    text_column: str | None = None
    label_column: str | None = None
    map: str = ""
    encoding: str = ""
    delimiter: str = ""
    quotes: bool | None = None
    drop_bad_rows: bool = False
    base: str | None = None  # None: chosen from the labels
    preset: str = "auto"
    recipe: Mapping[str, Any] = field(default_factory=dict)

    def check(self) -> None:
        """Raise `InvalidInput` if the options contradict each other."""
        try:
            layout = source_of(self.file, self.format, self.encoding, self.delimiter, option="format")
        except TableOptionError as error:
            raise InvalidInput(error.explain()) from None
        if layout.format == "lines":
            raise InvalidInput("a training needs columns: the format is csv, tsv, jsonl or parquet")

    @property
    def table(self) -> str:
        """The name of the copy that the training reads. It says the format, and nothing that a path could mean."""
        kind = source_of(self.file, self.format, "", "").format
        stem = re.sub(r"[^A-Za-z0-9_-]+", "-", self.file.partition(".")[0])[:_MAX_STEM].strip("-") or "rows"
        stem = "rows" if stem == "all" else stem  # which reports call all sets together
        return f"{stem}.{kind}"

    @property
    def is_compressed(self) -> bool:
        return self.file.lower().endswith(".gz")

    def arguments(self) -> dict[str, Any]:
        """Return those of `training.workflow.train_table`, without its folders and its start."""
        layout = {"delimiter": self.delimiter or None, "encoding": self.encoding or None, "quotes": self.quotes}
        return {
            "table": self.table,
            "name": self.name,
            "text_column": self.text_column,
            "label_column": self.label_column,
            "label_map": self.map,
            "layout": layout,
            "drop_bad_rows": self.drop_bad_rows,
            "preset": self.preset,
            "recipe": dict(self.recipe),
        }

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        return cls(**values)
