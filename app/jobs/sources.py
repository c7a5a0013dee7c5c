"""Where the rows of a job come from: the store, or a place outside that the settings allow.

A place is a folder (`file:///data`), a prefix of a bucket (`s3://`, `gs://`, `abfs://`) or of a web site (`https://`).
A caller's URL names something below such a place and nothing else: its own options could name another server.
"""

import errno
import io
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

from ..errors import InvalidInput, NotReady, SetupError, TableError
from ..tables import Source

BUCKETS = ("s3", "gs", "abfs")
SCHEMES = ("file", *BUCKETS, "https")
_LOC = ("body", "source", "url")
_MAX_GROWTH = 200  # tables of text become 3 to 20 times as large
_BUFFER_BYTES = 128 * 1024
# What another attempt would not change. Everything else, such as a connection that broke, may pass.
_LASTING = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)


@dataclass(frozen=True, slots=True)
class JobSource(Source):
    """An input that is opened in its own way, as often as is needed.

    `check` is called before each read, and may raise: to read all of an input may take hours.
    """

    opener: Callable[[], BinaryIO] = field(kw_only=True, compare=False)
    check: Callable[[], object] = field(kw_only=True, compare=False, default=lambda: None)

    @property
    def is_file(self) -> bool:
        return True

    @property
    def max_growth(self) -> int:
        return _MAX_GROWTH

    @contextmanager
    def open_binary(self) -> Iterator[io.BufferedReader]:
        try:
            stream = self.opener()
        except _LASTING as error:
            raise TableError(f"{self.name}: {error.strerror or 'it cannot be opened'}") from None
        except OSError as error:
            raise _unreadable(error) from error
        reader: io.BufferedReader = io.BufferedReader(_Checked(stream, self.check), _BUFFER_BYTES)
        with reader:
            yield reader


class _Checked(io.RawIOBase):
    """Calls `check` before each read. Raises `NotReady` for a failed read: readers take an `OSError` for wrong data."""

    def __init__(self, stream: Any, check: Callable[[], object]) -> None:
        self._stream = stream
        self._check = check

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return bool(self._stream.seekable())

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return int(self._stream.seek(offset, whence))

    def tell(self) -> int:
        return int(self._stream.tell())

    def readinto(self, buffer: Any) -> int:
        self._check()
        try:
            return int(self._stream.readinto(buffer))
        except OSError as error:
            raise _unreadable(error) from error

    def close(self) -> None:
        self._stream.close()
        super().close()


def _unreadable(error: OSError) -> NotReady:
    return NotReady(f"the source cannot be read: {error.strerror or type(error).__name__}")


def check_url(url: str, allowed: Sequence[str]) -> None:
    """Raise `InvalidInput` unless a job may read from `url`."""
    try:
        scheme, _ = url.partition(":")[0], urlsplit(url).port  # in lower case, as everything that reads it expects
    except ValueError:
        raise InvalidInput("expected a valid URL", _LOC) from None
    if scheme not in SCHEMES:
        raise InvalidInput(f"expected a URL that begins with {', '.join(f'{name}://' for name in SCHEMES)}", _LOC)
    if scheme == "file":
        _file(url, allowed)
    else:
        _place(url, allowed)


def is_download(url: str | None) -> bool:
    """Return whether a source is copied to the store before it is read, because it cannot be read twice."""
    return url is not None and url.startswith("https:")


def open_url(url: str, allowed: Sequence[str]) -> BinaryIO:
    """Open a source. It is checked again, because links and settings may have changed since the job was sent."""
    check_url(url, allowed)
    if url.startswith("file:"):
        return _open_file(*_file(url, allowed))
    from pyarrow import fs

    place = _place(url, allowed)
    try:
        files, root = fs.FileSystem.from_uri(place)  # with the options of the settings
    except (ValueError, OSError) as error:
        raise SetupError(f"SENTIMENT_JOB_SOURCES: {error}") from None
    stream: BinaryIO = files.open_input_file(root.rstrip("/") + url.removeprefix(_without_options(place)))
    return stream


def _file(url: str, allowed: Sequence[str]) -> tuple[Path, Path]:
    """Return an allowed folder, and the file of a URL in it, or the folder and the name of an allowed file.

    Every link has been followed.
    """
    parts = urlsplit(url)
    path = unquote(parts.path)
    if parts.netloc not in ("", "localhost") or parts.query or parts.fragment or "\0" in path:
        raise InvalidInput("expected file:///folder/name", _LOC)
    try:
        file = Path(path).resolve()
    except (OSError, RuntimeError):  # links in a circle
        raise _refusal() from None
    roots = [Path(unquote(urlsplit(root).path)).resolve() for root in allowed if root.startswith("file://")]
    for root in roots:
        if file == root:
            return root.parent, Path(root.name)
        if file.is_relative_to(root):
            return root, file.relative_to(root)
    raise _refusal()  # the same answer whether the file exists or not


def _open_file(root: Path, file: Path) -> BinaryIO:
    """Open a file below a folder, both without links: one that is there now was put there after the check."""
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for name in file.parts[:-1]:
            above, folder = folder, os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
            os.close(above)
        # Without O_NONBLOCK, it would wait for somebody to write into a pipe.
        descriptor = os.open(file.name or ".", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _refusal() from None
        raise
    finally:
        os.close(folder)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise IsADirectoryError(errno.EISDIR, "it is not a file")
    return os.fdopen(descriptor, "rb")


def _place(url: str, allowed: Sequence[str]) -> str:
    """Return the allowed place below which a URL is."""
    parts = urlsplit(url)
    segments = unquote(parts.path).split("/")
    if parts.query or parts.fragment or "@" in parts.netloc or "%" in parts.netloc or not parts.path.strip("/"):
        raise InvalidInput("expected a URL without user, options and fragment", _LOC)
    if any(segment in (".", "..") for segment in segments) or "\\" in url or not url.isprintable():
        raise InvalidInput("expected a URL without . and ..", _LOC)
    for place in allowed:
        if url.startswith(_without_options(place) + "/"):
            return place
    raise _refusal()


def _without_options(place: str) -> str:
    return place.partition("?")[0].rstrip("/")


def _refusal() -> InvalidInput:
    return InvalidInput("jobs may not read from there; SENTIMENT_JOB_SOURCES allows places", _LOC)
