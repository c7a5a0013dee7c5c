"""What the artifacts of versions say, where they are on this machine."""

from pathlib import Path
from typing import TYPE_CHECKING

from ...catalog import ModelSpec, VersionSpec, locate
from ...errors import ArtifactError
from ..exits import Failure

if TYPE_CHECKING:
    from ...inference import Artifact


def open_local(file: Path, version: VersionSpec) -> "Artifact | None":
    """Return the artifact of a version, or None if it is not a folder on this machine.

    Raises `ArtifactError` if it cannot be read, or has another manifest than the file states.
    """
    if version.kind != "path":
        return None
    from ...inference import open_artifact  # needs numpy, which `--help` does not

    location = locate(file, version)
    if "/" in location and not Path(location).is_dir():
        raise ArtifactError(
            f"{version.source}: no such folder: {location}; a model of the Hugging Face hub is owner/name@revision"
        )
    artifact = open_artifact(location)
    if not artifact.files:
        raise ArtifactError(f"{version.source} has no weights that can be served: export it first")
    if version.digest and version.digest != checksum_of(artifact):
        raise ArtifactError(
            f"{version.source}: the sha256 of its manifest is {checksum_of(artifact)}, not {version.digest}"
        )
    return artifact


def checksum_of(artifact: "Artifact") -> str | None:
    """Return the checksum of the manifest, in the form that the models file has."""
    return f"sha256:{artifact.manifest_sha256}" if artifact.manifest_sha256 else None


def readable_checksum(file: Path, version: VersionSpec) -> str | None:
    """Return the checksum of a version's manifest, or the one that the file states, or None if there is neither."""
    artifact = _if_readable(file, version)
    return checksum_of(artifact) if artifact else version.digest or None


def manifest_versions(file: Path, model: ModelSpec) -> dict[str, str]:
    """Return what the manifests of the versions call them, by source, of those that can be read here."""
    found = {}
    for version in model.versions:
        artifact = _if_readable(file, version)
        if artifact and artifact.manifest:
            found[version.source] = artifact.version
    return found


def check_labels(file: Path, model: ModelSpec, source: str, artifact: "Artifact") -> None:
    """End the command if another version of the model has other labels.

    A canary would give some callers labels that the others never see, and a shadow could not be compared.
    """
    for version in model.versions:
        other = None if version.source == source else _if_readable(file, version)
        if other and set(other.labels) != set(artifact.labels):
            raise Failure(
                f"{source} has the labels {', '.join(artifact.labels)}, but {version.source} has "
                f"{', '.join(other.labels)}: serve it as a model with another name, or promote it for all callers"
            )


def _if_readable(file: Path, version: VersionSpec) -> "Artifact | None":
    try:
        return open_local(file, version)
    except ArtifactError:
        return None
