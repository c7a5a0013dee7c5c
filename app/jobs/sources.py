"""Where the rows of a job come from: the store, or a place outside that the settings allow."""

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from ..errors import InvalidInput, TableError
from ..tables import Source

_SCHEMES = ("file",)
_LOC = ("body", "source", "url")


@dataclass(frozen=True, slots=True)
class JobSource(Source):
    """An input that is opened in its own way, as often as is needed."""

    opener: Callable[[], BinaryIO] = field(kw_only=True, compare=False)

    @property
    def is_file(self) -> bool:
        return True

    @contextmanager
    def open_binary(self) -> Iterator[io.BufferedReader]:
        try:
            stream = self.opener()
        except OSError as error:
            raise TableError(f"{self.name}: {error.strerror or 'it cannot be opened'}") from None
        with stream:
            yield stream if isinstance(stream, io.BufferedReader) else io.BufferedReader(stream)  # type: ignore[arg-type]


def check_url(url: str, allowed: Sequence[str]) -> None:
    """Raise `InvalidInput` unless a job may read from `url`."""
    scheme = urlsplit(url).scheme.lower()
    if scheme not in _SCHEMES:
        raise InvalidInput(f"expected a URL that begins with {', '.join(f'{name}://' for name in _SCHEMES)}", _LOC)
    _resolve(url, allowed)


def open_url(url: str, allowed: Sequence[str]) -> BinaryIO:
    """Open a source. It is checked again, because links may have changed since the job was sent."""
    return _resolve(url, allowed).open("rb")


def _resolve(url: str, allowed: Sequence[str]) -> Path:
    """Return the file of a URL, which must lie below an allowed folder after every link has been followed."""
    parts = urlsplit(url)
    path = unquote(parts.path)
    if parts.netloc not in ("", "localhost") or parts.query or parts.fragment or "\0" in path:
        raise InvalidInput("expected file:///folder/name", _LOC)
    file = Path(path).resolve()
    roots = [Path(unquote(urlsplit(root).path)).resolve() for root in allowed if root.startswith("file://")]
    if not any(file.is_relative_to(root) for root in roots):
        # The same answer whether the file exists or not.
        raise InvalidInput("jobs may not read from there; SENTIMENT_JOB_SOURCES allows places", _LOC)
    return file
