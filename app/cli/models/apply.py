"""How a command changes the models file: plan, show, ask, write, and leave a line in the audit log."""

import getpass
import os
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click

from ...catalog import Catalog, Change, Shares, appending, audit_file, locked, loses_comments, read, write
from ..exits import OK, WRONG_USAGE, Failure

_MAX_ACTOR_CHARS = 200
_COMMENTS = "comments that are not at the beginning of the file are lost"


@dataclass(frozen=True)
class Plan:
    """What a command is going to do.

    `version` is the source that it is about, or empty for a whole model; `notes` are further lines for people.
    """

    catalog: Catalog
    description: str
    version: str = ""
    checksum: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Flags:
    """The flags of every command that changes the file."""

    file: Path
    yes: bool
    dry_run: bool
    actor: str | None


MakePlan = Callable[[Catalog | None], Plan]


def apply(flags: Flags, command: str, name: str, make_plan: MakePlan, *, may_create: bool = False) -> int:
    """Carry out what `make_plan` plans for the model `name`.

    The plan is made within the lock. If people are asked first, it is made before that, too, and it must still be the
    same when they have answered. Raises `Failure` if it is not.
    """
    who = _actor(flags.actor)
    if flags.dry_run:
        before = _read(flags.file, may_create)
        _show(flags.file, before, make_plan(before), name)
        click.echo("dry run: nothing was changed")
        return OK
    shown: Plan | None = None
    if not flags.yes and sys.stdin is not None and sys.stdin.isatty():
        before = _read(flags.file, may_create)
        shown = make_plan(before)
        _show(flags.file, before, shown, name)
        if shown.catalog == before:
            return OK
        if not click.confirm("Change the file?"):
            raise Failure("nothing was changed")
    with locked(flags.file):
        before = _read(flags.file, may_create)
        plan = make_plan(before)
        if shown is None:
            _show(flags.file, before, plan, name)
        elif shown != plan:
            raise Failure(f"{flags.file} was changed in the meantime; run the command again")
        if plan.catalog == before:
            return OK
        change = Change(
            datetime.now(UTC), who, command, name, plan.version, _shares(before, name), _shares(plan.catalog, name),
            plan.checksum,
        )  # fmt: skip
        # Opened first: without a place in the log, nothing changes.
        with appending(audit_file(flags.file)) as append:
            write(flags.file, plan.catalog)
            try:
                append(change)
            except BaseException:
                _restore(flags.file, before)
                raise
    return OK


def existing(catalog: Catalog | None) -> Catalog:
    """Return the catalog of a file that exists, as `apply` ensures without `may_create`."""
    assert catalog is not None
    return catalog


def _restore(file: Path, before: Catalog | None) -> None:
    if before is None:
        file.unlink()
    else:
        write(file, before)


def _read(file: Path, may_create: bool) -> Catalog | None:
    # A symlink that leads nowhere counts as a file that does not exist: it is created where the link leads.
    if may_create and not file.exists():
        return None
    if not file.exists():
        raise Failure(f"{file} does not exist; `rt-sentiment models add` creates it", WRONG_USAGE)
    return read(file)


def _show(file: Path, before: Catalog | None, plan: Plan, name: str) -> None:
    if plan.catalog == before:
        click.echo(f"{plan.description}: that is so already")
        return
    click.echo(plan.description)
    old, new = _shares(before, name), _shares(plan.catalog, name)
    sources = list(dict.fromkeys([*old, *new]))
    width = max(len(source) for source in sources)
    for source in sources:
        click.echo(f"  {source:<{width}}  {_word(old.get(source)):>7} -> {_word(new.get(source))}")
    notes = [_COMMENTS, *plan.notes] if loses_comments(file) else plan.notes
    for note in notes:
        click.echo(f"  {note}")


def _word(share: float | str | None) -> str:
    if share is None:
        return "-"
    return share if isinstance(share, str) else f"{share:g}"


def _shares(catalog: Catalog | None, name: str) -> Shares:
    """Return the weights of a model; none if there is no such model."""
    models = catalog.models if catalog else ()
    return next((model.shares for model in models if model.name == name), {})


def _actor(stated: str | None) -> str:
    """Return who makes the change: what the flag says, or else user@host."""
    if stated is not None:
        if not (stated.strip() and stated.isprintable() and len(stated) <= _MAX_ACTOR_CHARS):
            raise Failure(f"--as: expected a name of up to {_MAX_ACTOR_CHARS} characters in one line", WRONG_USAGE)
        return stated.strip()
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container may run as a user that has no name
        user = f"uid-{os.getuid()}"
    return f"{user}@{socket.gethostname()}"
