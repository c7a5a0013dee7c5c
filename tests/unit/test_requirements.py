"""The files of requirements have exactly the packages of each set, with versions and hashes."""

import re
from importlib.metadata import distribution, requires
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.process import ROOT

_PIN = re.compile(r"^([\w.-]+)==(\S+)(?: ; (.+?))?((?: \\\n    --hash=sha256:[0-9a-f]{64})+)$", re.MULTILINE)
SERVING = ROOT / "requirements.txt"
# The site has a test of its own: some of its packages have other versions for other versions of Python.
FILES = [SERVING, *(file for file in sorted((ROOT / "requirements").glob("*.txt")) if file.name != "docs.txt")]
EXTRAS = {
    "requirements.txt": ["redis"],
    "jobs.txt": ["jobs"],
    "jwt.txt": ["redis", "jwt"],
    "tracing.txt": ["redis", "tracing"],
    "perf.txt": ["redis", "perf"],
    "gpu.txt": ["redis", "torch"],
    "dev.txt": ["dev"],
}
# Hatchling, its dependencies, and those of an editable install.
BUILD_PACKAGES = {"hatchling", "pathspec", "pluggy", "tomlkit", "trove-classifiers"}
# They are in torch-cpu.txt, or in gpu.txt.
NOT_IN_DEV = re.compile(r"(cuda|nvidia|torch|triton)(-.+)?")


def hashed(file: Path = SERVING) -> dict[str, str]:
    text = file.read_text()
    versions = {match[1]: match[2] for match in _PIN.finditer(text)}
    lines = [line for line in text.splitlines() if not line.startswith(("#", " "))]
    assert len(versions) == len(lines)  # each has a hash
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
        if other not in seen or requirement.extras:
            seen.add(other)
            dependencies(other, frozenset(requirement.extras), seen)
    return seen


@pytest.mark.parametrize(("name", "extras"), EXTRAS.items())
def test_every_dependency_is_pinned_at_the_tested_version(name: str, extras: list[str]) -> None:
    versions = hashed(next(file for file in FILES if file.name == name))
    # pip and setuptools come with Python, and the environment of this test may have others.
    needed = dependencies("rt-sentiment", frozenset(extras), set()) - {"rt-sentiment", "pip", "setuptools"}
    if name == "dev.txt":
        needed = {package for package in needed if not NOT_IN_DEV.fullmatch(package)}
    for package in needed:
        assert versions[package] == distribution(package).version.removesuffix("+cpu"), package


def test_only_dependencies_and_build_packages_are_pinned() -> None:
    text = SERVING.read_text()
    installed = {match[1] for match in _PIN.finditer(text) if not match[3] or Marker(match[3]).evaluate()}
    assert installed - dependencies("rt-sentiment", frozenset({"redis"}), set()) == BUILD_PACKAGES


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_requirements_and_constraints_have_the_same_versions(file: Path) -> None:
    versions = pinned()
    assert hashed(file)
    for name, version in hashed(file).items():
        assert versions.get(canonicalize_name(name), version) == version.removesuffix("+cpu"), name


def test_the_development_set_leaves_pytorch_to_the_other_two() -> None:
    names = hashed(ROOT / "requirements" / "dev.txt").keys()
    assert not [name for name in names if NOT_IN_DEV.fullmatch(name)]
    assert hashed(ROOT / "requirements" / "torch-cpu.txt") == {"torch": f"{pinned()['torch']}+cpu"}


def test_the_packages_of_the_site_have_hashes_and_the_pinned_versions() -> None:
    text = (ROOT / "requirements" / "docs.txt").read_text()
    locked = {"python_version": "3.11", "python_full_version": "3.11.9"}  # constraints.txt is for this version
    pins = [match for match in _PIN.finditer(text) if not match[3] or Marker(match[3]).evaluate(locked)]
    assert len(_PIN.findall(text)) == sum("==" in line for line in text.splitlines() if line[0].isalnum())
    versions = pinned()
    assert {"sphinx", "furo", "myst-parser"} <= {match[1] for match in pins}
    for match in pins:
        assert versions.get(match[1], match[2]) == match[2], match[1]


def test_serving_does_not_need_torch() -> None:
    assert not {"torch", "transformers", "optimum"} & hashed().keys()
