"""Where the inputs and the results of jobs lie: a local folder, or an object store.

A file appears under its name only when it is whole, and is then on the disk: a process that is killed while it writes
leaves no half file, and what a job's checkpoint counts is there after a power cut.
"""

import contextlib
import os
import secrets
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import SetupError

_IDENTITY = ".identity"
OTHER_STORE = "the worker has another store than the service: both need the same SENTIMENT_JOB_STORE"


class Store(ABC):
    """Files below a root. Paths have the form `job/name`, and are made by us alone."""

    @abstractmethod
    def writer(self, path: str) -> contextlib.AbstractContextManager[BinaryIO]:
        """Write a file, and replace one of this name. After an exception in the block there is no new file."""

    @abstractmethod
    def open(self, path: str) -> BinaryIO:
        """Open a file to read. Raises `FileNotFoundError`."""

    @abstractmethod
    def delete(self, folder: str) -> None:
        """Delete a folder and its files, if there is one."""

    @abstractmethod
    def workplace(self, path: str) -> contextlib.AbstractContextManager[Path]:
        """Give a folder for a process that needs real files. In a local store, it is there for the next attempt."""

    @abstractmethod
    def identity(self) -> str:
        """Return what tells this store from others, on whatever machine it is used."""

    @abstractmethod
    def folders(self) -> list[str]:
        """Return the names of all folders."""

    @abstractmethod
    def changed_at(self, folder: str) -> float:
        """Return when a folder or a file in it was last changed, in seconds since 1970; 0 if it is not there."""

    def write(self, path: str, data: bytes) -> None:
        with self.writer(path) as stream:
            stream.write(data)


class LocalStore(Store):
    """A folder that the service and the workers share."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @contextmanager
    def writer(self, path: str) -> Iterator[BinaryIO]:
        file = self._root / path
        # Only its owner may read the texts of others.
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        aside = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
        try:
            with aside.open("xb") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            aside.replace(file)
            _sync(file.parent)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise

    def open(self, path: str) -> BinaryIO:
        return (self._root / path).open("rb")

    def delete(self, folder: str) -> None:
        shutil.rmtree(self._root / folder, ignore_errors=True)

    @contextmanager
    def workplace(self, path: str) -> Iterator[Path]:
        folder = (self._root / path).absolute()
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        yield folder

    def identity(self) -> str:
        file = self._root / _IDENTITY
        with contextlib.suppress(FileNotFoundError):
            return file.read_text()
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        own = file.with_name(f"{_IDENTITY}-{secrets.token_hex(8)}")
        own.write_text(secrets.token_hex(12))
        # Unlike a rename, this replaces nothing: the first of several processes decides.
        with contextlib.suppress(FileExistsError):
            file.hardlink_to(own)
        own.unlink()
        return file.read_text()

    def folders(self) -> list[str]:
        with contextlib.suppress(FileNotFoundError), os.scandir(self._root) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
        return []

    def changed_at(self, folder: str) -> float:
        latest_s = 0.0
        for path in (self._root / folder, *(self._root / folder).rglob("*")):
            with contextlib.suppress(FileNotFoundError):  # it is being renamed
                latest_s = max(latest_s, path.stat().st_mtime)
        return latest_s


class ObjectStore(Store):
    """S3, Google Cloud Storage or Azure: an object appears when its upload has ended."""

    def __init__(self, url: str) -> None:
        try:
            from pyarrow import fs
        except ModuleNotFoundError as error:
            raise SetupError(
                "SENTIMENT_JOB_STORE: object stores need an extra: pip install 'rt-sentiment[jobs]'"
            ) from error
        try:
            self._files, root = fs.FileSystem.from_uri(url)
        except (ValueError, OSError) as error:
            raise SetupError(f"SENTIMENT_JOB_STORE: {error}") from None
        self._root = root.rstrip("/")

    @contextmanager
    def writer(self, path: str) -> Iterator[BinaryIO]:
        name = f"{self._root}/{path}"
        stream: Any = self._files.open_output_stream(name)
        try:
            yield stream
            stream.close()
        except BaseException:
            with contextlib.suppress(OSError):
                stream.close()  # there is no way to give up an upload
                self._files.delete_file(name)
            raise

    def open(self, path: str) -> BinaryIO:
        stream: BinaryIO = self._files.open_input_file(f"{self._root}/{path}")
        return stream

    def delete(self, folder: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._files.delete_dir(f"{self._root}/{folder}")

    @contextmanager
    def workplace(self, path: str) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix=f"rt-sentiment-{path.partition('/')[0]}-") as folder:
            yield Path(folder)

    def identity(self) -> str:
        return f"{self._files.type_name}:{self._root}"

    def folders(self) -> list[str]:
        return [each.base_name for each in self._list(self._root) if not each.is_file]

    def changed_at(self, folder: str) -> float:
        found = self._list(f"{self._root}/{folder}", recursive=True)
        return max((each.mtime.timestamp() for each in found if each.mtime), default=0.0)

    def _list(self, folder: str, *, recursive: bool = False) -> list[Any]:
        from pyarrow.fs import FileSelector

        found: list[Any] = self._files.get_file_info(FileSelector(folder, allow_not_found=True, recursive=recursive))
        return found


def open_store(place: str) -> Store:
    """Return the store at a folder or a URL (`s3://`, `gs://`, `abfs://`). Raises `SetupError`."""
    return ObjectStore(place) if "://" in place else LocalStore(Path(place).expanduser())


def _sync(folder: Path) -> None:
    """Make a rename survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
