"""A local cache of artifacts, bounded in size, that several processes share.

Each artifact is a folder called by the sha256 of its manifest, which appears only when it is complete:

    <sha256>/         an artifact, verified as it was written
    <sha256>.partial/ one that is being downloaded, or whose download was interrupted
    .removed-…        one that is being removed
    <sha256>.writing  a lock: who has it writes the folder
    <sha256>.use      a lock, shared by all who use the folder; its time is that of the last use
"""

import contextlib
import errno
import hashlib
import logging
import os
import re
import shutil
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import ArtifactError, CorruptArtifact
from ..inference import MANIFEST, SIGNATURE, parse_manifest
from ..logs import log
from .download import download, is_complete, read_manifest, stated_bytes, sync, update_signature
from .locks import FileLock, acquire, try_acquire
from .remote import RemoteFolder, open_folder

_NAME = re.compile(r"[0-9a-f]{64}")
_PARTIAL = ".partial"
_REMOVED = ".removed-"
_FULL = (errno.ENOSPC, errno.EDQUOT)


class ArtifactStore:
    """Downloads artifacts into `folder`, and keeps those that were used last, up to `max_bytes`.

    An artifact is in use from `fetch` to `release`, or to the end of the process; it is not removed as long as any
    process uses it. Methods block, and may be called from any thread.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder.expanduser().absolute()
        self._max_bytes = max_bytes
        self._held: dict[Path, list[FileLock]] = {}
        self._mutex = threading.Lock()

    def fetch(self, source: str, digest: str = "", *, signed: bool = False) -> Path:
        """Return the folder of the artifact at the address `source`, which is downloaded unless it is there.

        Only the manifest is read each time; with `signed`, the signature, too, because it may be newer. The manifest
        must have the sha256 `digest`, if one is given; then the address is not asked if the artifact is there already.
        Raises `ArtifactError`, with what to do, if that is not possible, and `CorruptArtifact` if the address has other
        bytes than it states.
        """
        digest = digest.lower().removeprefix("sha256:")
        if digest and (folder := self._find(digest, signed=signed)):
            return folder
        remote = open_folder(source, pinned=bool(digest))
        manifest = read_manifest(remote)
        name = hashlib.sha256(manifest).hexdigest()
        if digest not in ("", name):
            raise CorruptArtifact(f"{remote.name}: the sha256 of its {MANIFEST} is {name}, and not {digest}, as stated")
        files = parse_manifest(manifest, f"{remote.name}/{MANIFEST}")["files"]
        self._check_size(remote, files)
        folder = self._folder / name
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            in_use = self._fill(folder, remote, manifest, files, signed=signed)
        except OSError as error:
            raise self._disk_error(error) from error
        with self._mutex:
            self._held.setdefault(folder, []).append(in_use)
        self._remove_unused()
        return folder

    def _find(self, digest: str, *, signed: bool) -> Path | None:
        """Return the folder of an artifact that is complete in the cache, and note that it is in use."""
        folder = self._folder / digest
        if signed and not (folder / SIGNATURE).is_file():
            return None
        try:
            manifest = (folder / MANIFEST).read_bytes()
            in_use = acquire(self._lock_file(folder, "use"), shared=True)
        except OSError:
            return None
        files = parse_manifest(manifest, str(folder / MANIFEST))["files"]
        if hashlib.sha256(manifest).hexdigest() != digest or not is_complete(folder, files):
            in_use.release()
            return None
        os.utime(self._lock_file(folder, "use"))
        with self._mutex:
            self._held.setdefault(folder, []).append(in_use)
        return folder

    def release(self, folder: Path) -> None:
        """Undo one `fetch`: the artifact may be removed once all who fetched it have released it."""
        with self._mutex:
            locks = self._held.get(folder, [])
            if not locks:
                return
            locks.pop().release()
            if not locks:
                del self._held[folder]

    def discard(self, folder: Path) -> None:
        """Undo one `fetch` of an artifact that has turned out to be corrupt: unless it is in use, it goes."""
        self.release(folder)
        with contextlib.suppress(OSError):
            self._remove_alone(folder, folder, "use")

    def _check_size(self, remote: RemoteFolder, files: Mapping[str, Any]) -> None:
        if (needed := stated_bytes(files, remote)) > self._max_bytes:
            raise ArtifactError(
                f"{remote.name} has {needed:,} bytes, and the cache at most {self._max_bytes:,}; raise "
                "SENTIMENT_MODELS_CACHE_BYTES"
            )

    def _fill(
        self, folder: Path, remote: RemoteFolder, manifest: bytes, files: Mapping[str, Any], *, signed: bool
    ) -> FileLock:
        """Download what is missing, and return the lock of who uses the folder."""
        writing = acquire(self._lock_file(folder, "writing"))
        in_use = None
        try:
            in_use = acquire(self._lock_file(folder, "use"), shared=True)
            if not is_complete(folder, files):
                self._download(folder, remote, manifest, files)
            elif signed:
                update_signature(folder, remote)
            os.utime(self._lock_file(folder, "use"))
        except BaseException:
            if in_use is not None:
                in_use.release()
            raise
        finally:
            writing.release(remove=True)
        return in_use

    def _download(self, folder: Path, remote: RemoteFolder, manifest: bytes, files: Mapping[str, Any]) -> None:
        self._check_free(remote, stated_bytes(files, remote))
        partial = folder.with_name(folder.name + _PARTIAL)
        _remove(partial)  # of a process that was killed
        try:
            partial.mkdir()
            download(remote, manifest, files, partial, self._max_bytes)
            if folder.exists():  # a file was removed or cut off; who has loaded it does not need it any more
                _remove(folder)
            partial.rename(folder)
            sync(self._folder)
        except BaseException:
            _remove(partial)
            raise
        log(logging.INFO, "artifact downloaded", source=remote.name, digest=folder.name)

    def _check_free(self, remote: RemoteFolder, needed: int) -> None:
        free = shutil.disk_usage(self._folder).free
        if needed > free:
            raise ArtifactError(
                f"{remote.name} has {needed:,} bytes, and {free:,} are free in {self._folder}; free some, or set "
                "SENTIMENT_MODELS_CACHE to a folder on another disk"
            )

    def _remove_unused(self) -> None:
        """Remove what was used least recently until the rest is small enough, and what downloads have left behind."""
        try:
            entries = list(self._folder.iterdir())
            for entry in entries:
                if entry.name.startswith(_REMOVED):
                    _remove(entry)
                elif entry.name.endswith(_PARTIAL):
                    self._remove_alone(entry.with_suffix(""), entry, "writing")
            artifacts = [entry for entry in entries if _NAME.fullmatch(entry.name)]
            sizes = {artifact: _size(artifact) for artifact in artifacts}
            total = sum(sizes.values())
            for artifact in sorted(artifacts, key=self._last_used_s):
                if total <= self._max_bytes:
                    break
                if self._remove_alone(artifact, artifact, "use"):
                    total -= sizes[artifact]
                    log(logging.INFO, "artifact removed from the cache", digest=artifact.name)
        except OSError as error:  # the artifact that was fetched is there all the same
            log(logging.WARNING, "the cache of artifacts cannot be cleaned up", why=error.strerror or str(error))

    def _remove_alone(self, artifact: Path, folder: Path, lock: str) -> bool:
        """Remove a folder unless somebody uses it. Before its content goes, it gets a name that does not count."""
        if (alone := try_acquire(self._lock_file(artifact, lock))) is None:
            return False
        try:
            if not folder.is_dir():  # another process was faster
                return False
            gone = folder.with_name(f"{_REMOVED}{artifact.name}-{lock}")
            _remove(gone)
            folder.rename(gone)
            _remove(gone)
        finally:
            alone.release(remove=True)
        return True

    def _last_used_s(self, artifact: Path) -> float:
        try:
            return self._lock_file(artifact, "use").stat().st_mtime
        except OSError:
            return 0.0

    def _lock_file(self, artifact: Path, kind: str) -> Path:
        return artifact.with_name(f"{artifact.name}.{kind}")

    def _disk_error(self, error: OSError) -> ArtifactError:
        if error.errno in _FULL:
            return ArtifactError(
                f"{self._folder}: the disk is full; free some of it, or set SENTIMENT_MODELS_CACHE to a folder on "
                "another disk"
            )
        return ArtifactError(
            f"{self._folder}: the cache of artifacts cannot be written ({error.strerror or error}); set "
            "SENTIMENT_MODELS_CACHE to a folder that may be written"
        )


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)  # another process may remove the same one


def _size(folder: Path) -> int:
    """Return the bytes of the files in a folder, which may be gone."""
    total = 0
    for file in folder.rglob("*"):
        try:
            total += file.stat().st_size if file.is_file() else 0
        except FileNotFoundError:
            continue
    return total
