"""The files of a model directory, verified as they are read.

A directory that `onnx_export` wrote has a `manifest.json` with the sha256 of every file. Then only files that it lists
can be read, and what is hashed are the bytes that are returned: a file that is replaced in between changes nothing.
"""

import hashlib
import json
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import ArtifactError, CorruptArtifact

MANIFEST = "manifest.json"
GOLDEN = "golden.jsonl"  # texts with the answers that the model gave when it was published: see `golden`
SIGNATURE = "model.sig"  # not in the manifest, because it covers the manifest
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model directory and its manifest, which is empty if it has none. Names of files are relative to it."""

    directory: Path
    manifest: Mapping[str, Any] = field(default_factory=dict, repr=False)
    manifest_sha256: str | None = None

    def read(self, name: str) -> bytes:
        """Return a file.

        Raises `ArtifactError` if it cannot be read or lies elsewhere, and `CorruptArtifact` if there is a manifest that
        does not list it or has another sha256 for it.
        """
        return self.read_and_hash(name)[0]

    def read_and_hash(self, name: str) -> tuple[bytes, str]:
        """Return a file and its sha256. Raises what `read` raises."""
        name, file = posixpath.normpath(name), self.directory / name
        if not _is_inside(name):
            raise ArtifactError(f"{file} is not inside the directory of the model")
        try:
            content = file.read_bytes()
        except FileNotFoundError:
            if self._lists(name):
                raise ArtifactError(f"{file}: listed in {MANIFEST} but missing") from None
            raise ArtifactError(f"{self.directory}: no {name}; is this a model directory?") from None
        except OSError as error:
            raise ArtifactError(f"{file}: {error.strerror}") from None
        digest = hashlib.sha256(content).hexdigest()
        if self.manifest:
            if not self._lists(name):
                raise CorruptArtifact(f"{file}: not listed in {MANIFEST}, so it is not part of this model")
            if digest != self.manifest["files"][name]["sha256"]:
                raise CorruptArtifact(f"{file}: checksum differs from {MANIFEST}; the file is corrupt or was replaced")
        return content, digest

    def has(self, name: str) -> bool:
        """Return whether a file exists or, according to the manifest, should exist."""
        return (self.directory / name).is_file() or self._lists(posixpath.normpath(name))

    def read_json(self, name: str) -> dict[str, Any]:
        """Read a JSON object; raise `ArtifactError` if it is not valid."""
        return parse_json(self.read(name), self.directory / name)

    def optional_json(self, name: str) -> dict[str, Any]:
        """Read a JSON object that a checkpoint may lack."""
        return self.read_json(name) if self.has(name) else {}

    def _lists(self, name: str) -> bool:
        return name in self.manifest.get("files", {})


def open_files(directory: Path, digest: str = "") -> ModelFiles:
    """Read the manifest of a directory, if it has one.

    With `digest`, there must be one with that sha256. Raises `CorruptArtifact` if it has another, and `ArtifactError`
    if it cannot be used.
    """
    file, digest = directory / MANIFEST, digest.removeprefix("sha256:")
    if not file.is_file():
        if digest:
            raise CorruptArtifact(f"{directory}: no {MANIFEST}, whose sha256 SENTIMENT_MODEL_DIGEST states")
        return ModelFiles(directory)
    content, computed = ModelFiles(directory).read_and_hash(MANIFEST)
    if digest not in ("", computed):
        raise CorruptArtifact(f"{file}: its sha256 is {computed}, but SENTIMENT_MODEL_DIGEST is {digest}")
    return ModelFiles(directory, parse_manifest(content, file), computed)


def parse_manifest(content: bytes, file: Path | str) -> dict[str, Any]:
    """Return the manifest in `content`, which was read from `file`; raise `ArtifactError` if it cannot be used."""
    manifest = parse_json(content, file)
    files = manifest.get("files")
    if not isinstance(files, dict) or not all(_is_inside(name) and _is_entry(entry) for name, entry in files.items()):
        raise ArtifactError(f"{file}: `files` must have the sha256 of each file in the directory, by its name")
    return manifest


def parse_json(content: bytes, file: Path | str) -> dict[str, Any]:
    """Return the JSON object in `content`, which was read from `file`; raise `ArtifactError` if it is not valid."""
    try:
        parsed = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{file}: not valid JSON: {error}") from error
    if not isinstance(parsed, dict):
        raise ArtifactError(f"{file}: not a JSON object")
    return parsed


def _is_inside(name: str) -> bool:
    """Return whether a path with `/` is relative, in its shortest form and leads to a file below its start."""
    is_relative = not name.startswith(("/", "../")) and name not in (".", "..")
    return name == posixpath.normpath(name) and is_relative and "\0" not in name


def _is_entry(entry: object) -> bool:
    return isinstance(entry, dict) and bool(_SHA256.fullmatch(str(entry.get("sha256"))))
