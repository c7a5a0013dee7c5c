"""Copies an artifact from an address into a folder, and verifies each file while it is written."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import ArtifactError, CorruptArtifact
from ..inference import MANIFEST, SIGNATURE
from .remote import MissingFile, RemoteFolder

_LARGEST_MANIFEST = 16 * 1024**2
_LARGEST_SIGNATURE = 4 * 1024**2


def read_manifest(remote: RemoteFolder) -> bytes:
    """Return the bytes of the manifest; raise `ArtifactError` if there is none, or it cannot be read."""
    try:
        return _read_small(remote, MANIFEST, _LARGEST_MANIFEST)
    except MissingFile as error:
        raise ArtifactError(
            f"{error}. An address needs a {MANIFEST}, which says what is in the artifact: export the model with "
            "`python -m onnx_export`, and copy all files of the artifact"
        ) from None


def stated_bytes(files: Mapping[str, Any], remote: RemoteFolder) -> int:
    """Return the size of all files, as far as the manifest states it."""
    sizes = [entry.get("bytes", 0) for entry in files.values()]
    if any(isinstance(size, bool) or not isinstance(size, int) or size < 0 for size in sizes):
        raise ArtifactError(f"{remote.name}/{MANIFEST}: `bytes` of a file must be a whole number")
    return sum(sizes)


def is_complete(folder: Path, files: Mapping[str, Any]) -> bool:
    """Return whether all files are there, in their sizes. Whoever loads them compares their checksums."""
    try:
        sizes = {name: (folder / name).stat().st_size for name in (*files, MANIFEST)}
    except OSError:
        return False
    return all(sizes[name] == entry.get("bytes", sizes[name]) for name, entry in files.items())


def download(remote: RemoteFolder, manifest: bytes, files: Mapping[str, Any], folder: Path, max_bytes: int) -> None:
    """Write the files that the manifest lists, the signature if there is one, and the manifest, into an empty folder.

    Raises `CorruptArtifact` for a file with another checksum or size than the manifest states, `ArtifactError` if the
    address cannot be read or has more than `max_bytes`, and `OSError` if the folder cannot be written.
    """
    for name, entry in files.items():
        max_bytes -= _write(remote, name, entry, folder, max_bytes)
    if SIGNATURE not in files:
        update_signature(folder, remote)
    _write_file(folder / MANIFEST, manifest)
    for path in sorted(folder.rglob("*")):
        if path.is_dir():
            sync(path)
    sync(folder)


def update_signature(folder: Path, remote: RemoteFolder) -> None:
    """Write the signature that the address has now, if it has one, in the place of an older one."""
    try:
        signature = _read_small(remote, SIGNATURE, _LARGEST_SIGNATURE)
    except MissingFile:
        return
    fresh = folder.with_name(
        f"{folder.name}.sig"
    )  # beside, because in the folder it would be a file that is not signed
    _write_file(fresh, signature)
    fresh.replace(folder / SIGNATURE)


def sync(folder: Path) -> None:
    """Make sure that the names in a folder survive a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write(remote: RemoteFolder, name: str, entry: Mapping[str, Any], folder: Path, max_bytes: int) -> int:
    """Write a file and return its size."""
    place, file = f"{remote.name}/{name}", folder / name
    stated = entry.get("bytes")
    digest, size = hashlib.sha256(), 0
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("xb") as stream:
        for piece in remote.read(name):
            size += len(piece)
            if size > (max_bytes if stated is None else stated):
                _refuse_size(place, stated)
            digest.update(piece)
            stream.write(piece)
        stream.flush()
        os.fsync(stream.fileno())
    if stated is not None and size < stated:
        raise CorruptArtifact(
            f"{place}: only {size:,} of the {stated:,} bytes that {MANIFEST} states arrived; try again"
        )
    if digest.hexdigest() != entry["sha256"]:
        raise CorruptArtifact(f"{place}: checksum differs from {MANIFEST}; the file is corrupt or was replaced")
    return size


def _refuse_size(place: str, stated: int | None) -> None:
    if stated is None:
        raise ArtifactError(f"{place}: with it, the artifact is larger than SENTIMENT_MODELS_CACHE_BYTES allows")
    raise CorruptArtifact(f"{place}: it has more than the {stated:,} bytes that {MANIFEST} states")


def _read_small(remote: RemoteFolder, name: str, max_bytes: int) -> bytes:
    content = b""
    for piece in remote.read(name):
        content += piece
        if len(content) > max_bytes:
            raise ArtifactError(f"{remote.name}/{name}: it has more than {max_bytes:,} bytes")
    return content


def _write_file(file: Path, content: bytes) -> None:
    with file.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
