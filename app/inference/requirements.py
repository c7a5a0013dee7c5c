"""What an artifact needs of the version and the machine that load it, as its manifest states it."""

import platform
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import ArtifactError

# The format of the artifacts that this version writes, and the newest one that it reads.
FORMAT = 1
# What the exporter writes as `requires`: the first version that can use its artifacts. Raise it with the first artifact
# that older versions would misread.
WRITTEN_FOR = ">=0.1"
_AT_LEAST = re.compile(r">=\s*(\d+(?:\.\d+)*)")
_RELEASE = re.compile(r"\d+(?:\.\d+)*")
_SAME = {"amd64": "x86_64", "arm64": "aarch64"}  # names that other systems have for the same processor


def check_requirements(manifest: Mapping[str, Any], directory: Path) -> None:
    """Raise `ArtifactError` if the artifact in `directory` is too new, or for other machines.

    A manifest that states no requirements has none.
    """
    stated = manifest.get("format", FORMAT)
    if isinstance(stated, bool) or not isinstance(stated, int) or stated < 1:
        raise ArtifactError(f"{directory}: `format` in manifest.json must be a whole number above 0, not {stated!r}")
    if stated > FORMAT:
        raise ArtifactError(
            f"{directory}: its format is {stated}, and rt-sentiment {__version__} reads formats up to {FORMAT}; "
            "upgrade rt-sentiment"
        )
    requires = manifest.get("requires", ">=0")
    if not (match := _AT_LEAST.fullmatch(str(requires))):
        raise ArtifactError(f"{directory}: `requires` in manifest.json must be like >=0.2, not {requires!r}")
    if _parts(match[1]) > _parts(__version__):
        raise ArtifactError(
            f"{directory}: it requires rt-sentiment {requires}, and this is {__version__}; upgrade rt-sentiment"
        )
    _check_platform(manifest.get("platforms"), directory)


def _check_platform(platforms: object, directory: Path) -> None:
    if platforms is None:
        return
    if not isinstance(platforms, list) or not all(isinstance(name, str) for name in platforms):
        raise ArtifactError(f"{directory}: `platforms` in manifest.json must be a list of names such as x86_64")
    here = _processor(platform.machine())
    if here not in map(_processor, platforms):
        raise ArtifactError(
            f"{directory}: it is for {', '.join(platforms) or 'no platform'}, and this machine is {here}; "
            "export the model for this machine"
        )


def _processor(name: str) -> str:
    return _SAME.get(name.lower(), name.lower())


def _parts(version: str) -> list[int]:
    """Return the numbers of a version; 1.0 and 1 are the same, and so are 1.0 and 1.0rc1."""
    match = _RELEASE.match(version)
    parts = [int(part) for part in match[0].split(".")] if match else []
    while parts and parts[-1] == 0:
        parts.pop()
    return parts
