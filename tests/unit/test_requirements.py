"""What serving installs: exact versions with hashes, and nothing beside them."""

import re
from importlib.metadata import distribution, requires

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.process import ROOT

_PIN = re.compile(r"^([\w.-]+)==(\S+)(?: ; (.+?))?((?: \\\n    --hash=sha256:[0-9a-f]{64})+)$", re.MULTILINE)


# Hatchling, what it takes, and what it takes for an editable install.
BUILDERS = {"hatchling", "pathspec", "pluggy", "tomlkit", "trove-classifiers", "editables"}


def hashed() -> dict[str, str]:
    text = (ROOT / "requirements.txt").read_text()
    found = {match[1]: match[2] for match in _PIN.finditer(text)}
    assert len(found) == sum("==" in line for line in text.splitlines())  # none is without a hash
    return found


def pinned() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()[1:]
    return {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines)}


def needed(name: str, extras: frozenset[str], seen: set[str]) -> set[str]:
    """What a package takes on this machine, at any depth."""
    for line in requires(name) or ():
        wanted = Requirement(line)
        if wanted.marker and not any(wanted.marker.evaluate({"extra": extra}) for extra in {"", *extras}):
            continue
        other = canonicalize_name(wanted.name)
        if other not in seen:
            seen.add(other)
            needed(other, frozenset(wanted.extras), seen)
    return seen


def test_all_that_serving_takes_is_hashed_in_the_version_that_is_tested() -> None:
    found = hashed()
    for name in needed("rt-sentiment", frozenset({"redis"}), set()) - {"rt-sentiment"}:
        assert found[name] == distribution(name).version, name


def test_nothing_else_is_hashed_but_what_builds_the_project() -> None:
    text = (ROOT / "requirements.txt").read_text()
    here = {match[1] for match in _PIN.finditer(text) if not match[3] or Marker(match[3]).evaluate()}
    assert here - needed("rt-sentiment", frozenset({"redis"}), set()) == BUILDERS


def test_both_lists_name_the_same_versions() -> None:
    versions = pinned()
    for name, version in hashed().items():
        assert versions.get(canonicalize_name(name), version) == version, name


def test_torch_is_not_among_what_serving_takes() -> None:
    assert not {"torch", "transformers", "optimum"} & hashed().keys()
