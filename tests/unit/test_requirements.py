"""requirements.txt has exactly the packages that serving needs, with versions and hashes."""

import re
from importlib.metadata import distribution, requires

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.process import ROOT

_PIN = re.compile(r"^([\w.-]+)==(\S+)(?: ; (.+?))?((?: \\\n    --hash=sha256:[0-9a-f]{64})+)$", re.MULTILINE)
# Hatchling, its dependencies, and those of an editable install.
BUILD_PACKAGES = {"hatchling", "pathspec", "pluggy", "tomlkit", "trove-classifiers"}


def hashed() -> dict[str, str]:
    text = (ROOT / "requirements.txt").read_text()
    versions = {match[1]: match[2] for match in _PIN.finditer(text)}
    assert len(versions) == sum("==" in line for line in text.splitlines())  # each has a hash
    return versions


def pinned() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()[1:]
    return {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines)}


def dependencies(name: str, extras: frozenset[str], seen: set[str]) -> set[str]:
    """All dependencies of a package on this machine, at any depth."""
    for line in requires(name) or ():
        requirement = Requirement(line)
        if requirement.marker and not any(requirement.marker.evaluate({"extra": extra}) for extra in {"", *extras}):
            continue
        other = canonicalize_name(requirement.name)
        if other not in seen:
            seen.add(other)
            dependencies(other, frozenset(requirement.extras), seen)
    return seen


def test_every_dependency_is_pinned_at_the_tested_version() -> None:
    versions = hashed()
    for name in dependencies("rt-sentiment", frozenset({"redis"}), set()) - {"rt-sentiment"}:
        assert versions[name] == distribution(name).version, name


def test_only_dependencies_and_build_packages_are_pinned() -> None:
    text = (ROOT / "requirements.txt").read_text()
    installed = {match[1] for match in _PIN.finditer(text) if not match[3] or Marker(match[3]).evaluate()}
    assert installed - dependencies("rt-sentiment", frozenset({"redis"}), set()) == BUILD_PACKAGES


def test_requirements_and_constraints_have_the_same_versions() -> None:
    versions = pinned()
    for name, version in hashed().items():
        assert versions.get(canonicalize_name(name), version) == version, name


def test_the_packages_of_the_site_have_hashes_and_the_pinned_versions() -> None:
    text = (ROOT / "requirements-docs.txt").read_text()
    locked = {"python_version": "3.11", "python_full_version": "3.11.9"}  # constraints.txt is for this version
    pins = [match for match in _PIN.finditer(text) if not match[3] or Marker(match[3]).evaluate(locked)]
    assert len(_PIN.findall(text)) == sum("==" in line for line in text.splitlines() if line[0].isalnum())
    versions = pinned()
    assert {"sphinx", "furo", "myst-parser"} <= {match[1] for match in pins}
    for match in pins:
        assert versions.get(match[1], match[2]) == match[2], match[1]


def test_serving_does_not_need_torch() -> None:
    assert not {"torch", "transformers", "optimum"} & hashed().keys()
