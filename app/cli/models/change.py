"""`rt-sentiment models add`, `canary`, `promote`, `rollback`, `remove` and `shadow`."""

import os
from pathlib import Path
from typing import Any

import click

from ... import catalog as changes
from ...catalog import Catalog, ModelSpec, VersionSpec, audit_file, kind_of, previous, read_log
from ...errors import ModelsFileError
from ..exits import WRONG_USAGE, Failure
from .apply import Flags, Plan, apply, existing
from .artifacts import check_labels, checksum_of, manifest_versions, open_local, readable_checksum
from .flags import change_flags, models_file, name_argument, version_argument

_NOT_LOCAL = "its artifact is not on this machine; each server checks it when it loads it"


@click.command()
@name_argument()
@click.argument("source", type=str)
@click.option("--weight", type=float, help="Percent of the callers.  [default: 100 for the first version, otherwise 0]")
@click.option("--shadow", is_flag=True, help="Let it see the same texts, and never send its answers.")
@click.option("--digest", default="", metavar="sha256:…", help="The sha256 that its manifest.json must have.")
@change_flags
def add(*, name: str, source: str, weight: float | None, shadow: bool, digest: str, **flags: Any) -> int:
    """Add a version to the model NAME. A name that is new becomes a model.

    SOURCE is a folder with a model, the name of an embedded model, owner/name@revision of the Hugging Face hub, or an
    address such as s3://bucket/mine. Without --weight, the version is loaded and gets no callers: canary or promote it
    later.
    """
    options = _flags(flags)

    def make_plan(before: Catalog | None) -> Plan:
        spec = _spec(source, options.file, shadow=shadow, digest=digest)
        catalog, description = changes.add(before, name, spec, weight)
        return _checked(options.file, catalog, description, name, spec, compare=shadow or bool(weight))

    return apply(options, "add", name, make_plan, may_create=True)


@click.command()
@name_argument()
@version_argument
@click.option("--weight", type=float, required=True, help="Percent of the callers: the same ones each time.")
@change_flags
def canary(*, name: str, version: str | None, weight: float, **flags: Any) -> int:
    """Let VERSION answer a part of the callers. The other versions share the rest as before.

    VERSION is the source in the file, the last part of it, or the version in the manifest. It may be left out if there
    is only one that can be meant.
    """
    options = _flags(flags)

    def make_plan(before: Catalog | None) -> Plan:
        catalog = existing(before)
        spec = _version(options.file, catalog.find(name), version)
        after, description = changes.canary(catalog, name, spec.source, weight)
        return _checked(options.file, after, description, name, spec, compare=0 < weight < 100)

    return apply(options, "canary", name, make_plan)


@click.command()
@name_argument()
@version_argument
@change_flags
def promote(*, name: str, version: str | None, **flags: Any) -> int:
    """Let VERSION answer all callers. The others stay loaded, so that a rollback is immediate.

    VERSION may be left out if there is only one that can be meant, such as the canary.
    """
    options = _flags(flags)

    def make_plan(before: Catalog | None) -> Plan:
        catalog = existing(before)
        spec = _version(options.file, catalog.find(name), version)
        after, description = changes.promote(catalog, name, spec.source)
        return _checked(options.file, after, description, name, spec)

    return apply(options, "promote", name, make_plan)


@click.command(short_help="Turn VERSION into a shadow, whose answers are never sent.")
@name_argument()
@version_argument
@change_flags
def shadow(*, name: str, version: str | None, **flags: Any) -> int:
    """Turn VERSION into a shadow: it sees the same texts when cores are idle, and its answers are never sent."""
    options = _flags(flags)

    def make_plan(before: Catalog | None) -> Plan:
        catalog = existing(before)
        spec = _version(options.file, catalog.find(name), version)
        after, description = changes.shadow(catalog, name, spec.source)
        return _checked(options.file, after, description, name, spec, compare=True)

    return apply(options, "shadow", name, make_plan)


@click.command(short_help="Go back to the weights before the last change.")
@name_argument()
@change_flags
def rollback(*, name: str, **flags: Any) -> int:
    """Go back to the weights before the last change of NAME that moved callers. A second rollback goes further back."""
    options = _flags(flags)

    def make_plan(before: Catalog | None) -> Plan:
        catalog = existing(before)
        catalog.find(name)
        weights = previous(read_log(audit_file(options.file)), name)
        if weights is None:
            raise ModelsFileError(f"{name}: the audit log has no change to go back from; use promote or canary")
        after, description = changes.rollback(catalog, name, weights)
        main = after.find(name).main
        # The artifact is not checked: whatever is wrong with it, the servers have it loaded, and this is urgent.
        return (
            Plan(after, description, main.source, readable_checksum(options.file, main))
            if main
            else Plan(after, description)
        )

    return apply(options, "rollback", name, make_plan)


@click.command()
@name_argument()
@version_argument
@change_flags
def remove(*, name: str, version: str | None, **flags: Any) -> int:
    """Remove VERSION from the file, or the whole model NAME. Nothing is deleted from the disk."""
    options = _flags(flags)

    def make_plan(before: Catalog | None) -> Plan:
        catalog = existing(before)
        if version is None:
            return Plan(*changes.remove(catalog, name))
        spec = _version(options.file, catalog.find(name), version)
        after, description = changes.remove(catalog, name, spec.source)
        return Plan(after, description, spec.source, readable_checksum(options.file, spec))

    return apply(options, "remove", name, make_plan)


CHANGES: tuple[click.Command, ...] = (add, canary, promote, rollback, shadow, remove)


def _flags(flags: dict[str, Any]) -> Flags:
    return Flags(models_file(flags.pop("file")), **flags)


def _spec(source: str, file: Path, *, shadow: bool, digest: str) -> VersionSpec:
    """Return the version that a person names in the working directory, as the models file is to name it.

    Of a folder here, that is its path from the folder of the models file, if it is in there, and otherwise the whole
    one: the working directory of a server is another one.
    """
    try:
        path = Path(source).expanduser()
        is_folder = path.is_dir()
    except (OSError, RuntimeError):  # a name that is too long, ~somebody who does not exist
        raise Failure(f"{source}: no such folder", WRONG_USAGE) from None
    kind = "path" if is_folder else kind_of(source)
    if is_folder or (kind == "path" and path.is_absolute()):
        absolute, folder = (Path(os.path.normpath(each.absolute())) for each in (path, file.parent))
        source = str(absolute.relative_to(folder) if absolute.is_relative_to(folder) else absolute)
    return VersionSpec(source, kind, 0.0, shadow, digest)


def _version(file: Path, model: ModelSpec, version: str | None) -> VersionSpec:
    """Return the version of this name; without one, the only one that can be meant."""
    if version is not None:
        return model.find(version, manifest_versions(file, model))
    others = [each for each in model.versions if each is not model.main and not each.shadow]
    candidates = [each for each in others if each.weight] or others
    if len(candidates) == 1:
        return candidates[0]
    raise Failure(
        f"{model.name}: name the version; it has {', '.join(each.source for each in model.versions)}", WRONG_USAGE
    )


def _checked(
    file: Path, after: Catalog, description: str, name: str, spec: VersionSpec, *, compare: bool = False
) -> Plan:
    """Return the plan, if the artifact of the version can be read, and with `compare` has the labels of the others."""
    artifact = open_local(file, spec)
    if artifact is None:
        return Plan(after, description, spec.source, spec.digest or None, (_NOT_LOCAL,))
    if compare:
        check_labels(file, after.find(name), spec.source, artifact)
    return Plan(after, description, spec.source, checksum_of(artifact))
