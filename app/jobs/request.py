"""What an inference job is to do, as its caller says it."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO, Literal, Self

from ..errors import InvalidInput, TableOptionError
from ..tables import ADDED, Columns, Source, source_of
from .sources import JobSource


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
