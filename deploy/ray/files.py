"""Where a run of Ray reads and writes: local paths, globs and buckets, through the file systems of pyarrow."""

import io
import posixpath
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from pyarrow import fs

from app.errors import TableError, TableOptionError
from app.tables import Source

_WILD = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class StoredSource(Source):
    """An input in any file system that pyarrow knows; its path is a URL or a local path."""

    @contextmanager
    def open_binary(self) -> Iterator[io.BufferedReader]:
        files, path = locate(self.path)
        try:
            stream = files.open_input_file(path)
        except OSError as error:
            raise TableError(f"{self.path}: {error.strerror or 'it cannot be opened'}") from None
        with io.BufferedReader(stream) as reader:
            yield reader


def locate(url: str) -> tuple[fs.FileSystem, str]:
    """Return the file system of a URL or a local path, and the path in it. Raises `TableOptionError`."""
    if "://" not in url:
        return fs.LocalFileSystem(), str(Path(url).absolute())
    try:
        return fs.FileSystem.from_uri(url)
    except (ValueError, OSError) as error:
        raise TableOptionError(f"{url}: {error}") from None


def expand(pattern: str) -> list[str]:
    """Return the files that a path, a URL or a glob names, sorted. Raises `TableOptionError` if there are none.

    `*`, `?` and `[…]` stand for characters of one name, as in a shell. A folder stands for nothing: name its files.
    """
    if _WILD & set(pattern.partition("/")[0]):
        pattern = f"./{pattern}"
    folder = _fixed_folder(pattern)
    if folder == pattern:
        return [pattern]
    files, root = locate(folder)
    wanted = pattern[len(folder) :].strip("/").split("/")
    try:
        entries = files.get_file_info(fs.FileSelector(root, recursive=len(wanted) > 1))
    except OSError as error:
        raise TableOptionError(f"{folder}: {error.strerror or 'it cannot be listed'}") from None
    names = [posixpath.relpath(entry.path, root) for entry in entries if entry.type == fs.FileType.File]
    if not (matching := sorted(name for name in names if _matches(name.split("/"), wanted))):
        raise TableOptionError(f"{pattern}: no file has such a name")
    return [f"{folder.rstrip('/')}/{name}" for name in matching]


def outputs(pattern: str, inputs: list[str], out: str, suffix: str) -> dict[str, str]:
    """Return where each input is written: below the folder `out`, under its own name with another suffix.

    Raises `TableOptionError` if two inputs would have the same place.
    """
    folder = _fixed_folder(pattern)
    if folder == pattern:
        folder = posixpath.dirname(pattern)
    places: dict[str, str] = {}
    for path in inputs:
        name = path[len(folder) :].lstrip("/")
        stem, _ = posixpath.splitext(name.removesuffix(".gz"))
        place = f"{out.rstrip('/')}/{stem}.{suffix}"
        if place in places.values():
            raise TableOptionError(f"{pattern}: two of its files would be written to {place}")
        places[path] = place
    return places


def _fixed_folder(pattern: str) -> str:
    """Return the part of a pattern before the first name with a wildcard: all of it if there is none."""
    parts = pattern.split("/")
    wild = next((place for place, part in enumerate(parts) if _WILD & set(part)), None)
    if wild is None:
        return pattern
    return "/".join(parts[:wild]) or ("/" if pattern.startswith("/") else ".")


def _matches(names: list[str], wanted: list[str]) -> bool:
    return len(names) == len(wanted) and all(map(fnmatchcase, names, wanted))
