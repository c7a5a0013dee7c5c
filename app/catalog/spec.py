"""What is to be served: models by name, each with versions that share its callers.

The classes check themselves: a `Catalog` that exists is valid. Each raises `ModelsFileError` otherwise.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal

from ..errors import ModelsFileError

Kind = Literal["path", "hub", "url"]
# The weight of each version by its source; of a shadow, the word.
Shares = Mapping[str, float | Literal["shadow"]]

MAX_MODELS = 16
MAX_VERSIONS = 8
MAX_WEIGHT = 100.0
MIN_WEIGHT = 0.01  # above 0: the smallest step of a weight
WEIGHT_RULE = f"a weight is 0 or a number from {MIN_WEIGHT} to {MAX_WEIGHT:g}"
_MAX_SOURCE_CHARS = 1024
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_HUB = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*@[\w][\w./-]*", flags=re.ASCII)
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")
_PASSWORD = re.compile(r"[^:/]*://[^/@:]*:[^/@]*@")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class VersionSpec:
    """A version of a model: where it comes from, and its part of the callers.

    `weight` is from 0 to 100 and counts in relation to the other versions of the model. A version with 0 is loaded and
    gets no callers. A shadow sees the same texts, and its answers are never sent; its weight is 0. `digest` is the
    sha256 that its manifest must have, if any.
    """

    source: str
    kind: Kind
    weight: float
    shadow: bool
    digest: str = ""

    def __post_init__(self) -> None:
        _check_source(self.kind, self.source)
        if not (self.weight == 0 or MIN_WEIGHT <= self.weight <= MAX_WEIGHT):
            raise ModelsFileError(f"{self.source}: {WEIGHT_RULE}, not {self.weight:g}")
        if self.shadow and self.weight:
            raise ModelsFileError(f"{self.source}: a shadow version has no weight, because it gets no callers")
        if self.digest and not _DIGEST.fullmatch(self.digest):
            raise ModelsFileError(f"{self.source}: a digest is `sha256:` and 64 hexadecimal digits in lower case")

    @property
    def share(self) -> float | Literal["shadow"]:
        return "shadow" if self.shadow else self.weight

    @property
    def names(self) -> set[str]:
        """What people may call it: its source, the last part of that, and the revision of a hub model."""
        names = {self.source, PurePath(self.source.rstrip("/") or "/").name}
        return names | {self.source.rpartition("@")[2]} if self.kind == "hub" else names


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model and its versions, of which at least one has callers."""

    name: str
    versions: tuple[VersionSpec, ...]

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ModelsFileError(
                f"{self.name!r} is not a valid name for a model: use up to 64 letters, digits, '.', '_' and '-', "
                "and begin with a letter or a digit"
            )
        if not self.versions:
            raise ModelsFileError(f"{self.name}: a model needs at least one version")
        if len(self.versions) > MAX_VERSIONS:
            raise ModelsFileError(
                f"{self.name}: a model has at most {MAX_VERSIONS} versions, not {len(self.versions)}; remove one that "
                "is not needed any more"
            )
        places = [version.source.rstrip("/") for version in self.versions]
        if twice := next((place for place in places if places.count(place) > 1), None):
            raise ModelsFileError(f"{self.name}: {twice} is there twice; each version has another source")
        if not any(version.weight for version in self.versions):
            raise ModelsFileError(f"{self.name}: at least one version must have a weight above 0, to answer callers")

    @property
    def shares(self) -> dict[str, float | Literal["shadow"]]:
        """The weight of each version by its source."""
        return {version.source: version.share for version in self.versions}

    @property
    def main(self) -> VersionSpec | None:
        """The version with the largest weight; None if several have it."""
        best = max(version.weight for version in self.versions)
        first, *others = [version for version in self.versions if version.weight == best]
        return None if others else first

    def find(self, version: str, manifest_versions: Mapping[str, str] | None = None) -> VersionSpec:
        """Return the version of this name: see `VersionSpec.names`.

        `manifest_versions` has further names, by source. Raises `ModelsFileError` with the candidates if there is none
        or several. A whole source always means its version.
        """
        more = manifest_versions or {}
        if exact := [each for each in self.versions if each.source == version]:
            return exact[0]
        matches = [each for each in self.versions if version in each.names or more.get(each.source) == version]
        if len(matches) == 1:
            return matches[0]
        candidates = ", ".join(each.source for each in matches or self.versions)
        if matches:
            raise ModelsFileError(f"{self.name}: {version} may be one of {candidates}; write the whole source")
        raise ModelsFileError(f"{self.name} has no version {version}; it has {candidates}")


@dataclass(frozen=True, slots=True)
class Catalog:
    """All models that are to be served. The first one is the default."""

    models: tuple[ModelSpec, ...]

    def __post_init__(self) -> None:
        if not self.models:
            raise ModelsFileError("there must be at least one model")
        if len(self.models) > MAX_MODELS:
            raise ModelsFileError(f"there may be at most {MAX_MODELS} models, not {len(self.models)}")
        names = [model.name for model in self.models]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ModelsFileError(f"the model {twice} is there twice")

    @property
    def default(self) -> ModelSpec:
        """The model for requests that name none."""
        return self.models[0]

    def find(self, name: str) -> ModelSpec:
        """Return the model of this name; raise `ModelsFileError` with those that exist if there is none."""
        for model in self.models:
            if model.name == name:
                return model
        raise ModelsFileError(f"there is no model {name}; there is {', '.join(model.name for model in self.models)}")


def kind_of(source: str) -> Kind:
    """Return what a source is by its form: an address, a hub name with a revision, or else a path."""
    if "://" in source:
        return "url"
    return "hub" if _HUB.fullmatch(source) else "path"


def _check_source(kind: Kind, source: str) -> None:
    if not source or len(source) > _MAX_SOURCE_CHARS or not source.isprintable() or source != source.strip():
        raise ModelsFileError(
            f"a {kind} must be text of 1 to {_MAX_SOURCE_CHARS} characters, without spaces at its ends and line breaks"
        )
    if kind == "hub" and not _HUB.fullmatch(source):
        raise ModelsFileError(
            f"{source}: a hub model is owner/name@revision; the revision, such as a commit, is needed so that every "
            "process serves the same version"
        )
    if kind == "url" and not _URL.fullmatch(source):
        raise ModelsFileError(f"{source}: a url is an address such as s3://bucket/models/mine")
    if kind == "url" and _PASSWORD.match(source):
        raise ModelsFileError(
            "a url must not contain a password, because servers and logs show it; give it to the library that opens "
            "the address, for example with its environment variables"
        )
    if kind == "path" and "://" in source:
        raise ModelsFileError(f"{source} is an address; write `url:` instead of `path:`")
