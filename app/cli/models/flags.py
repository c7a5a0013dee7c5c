"""Arguments and flags that the commands share, and what the shell completes them with."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from ...catalog import Catalog, read
from ...errors import ModelsFileError
from ..exits import WRONG_USAGE, Failure

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def file_flag(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the flag for the models file."""
    return click.option(
        "--file",
        type=click.Path(path_type=Path),
        envvar="SENTIMENT_MODELS_FILE",
        show_envvar=True,
        help="The models file, which servers follow.",
    )(function)


def change_flags(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the flags of every command that changes the file."""
    for flag in (
        click.option(
            "--as",
            "actor",
            metavar="WHO",
            envvar="RT_SENTIMENT_ACTOR",
            show_envvar=True,
            help="Who makes the change, for the audit log.  [default: user@host]",
        ),
        click.option("--dry-run", is_flag=True, help="Only print what would change."),
        click.option("--yes", "-y", is_flag=True, help="Do not ask. Without a terminal, no question is asked either."),
        file_flag,
    ):
        function = flag(function)
    return function


def name_argument(*, required: bool = True) -> Decorator:
    return click.argument("name", required=required, shell_complete=_complete_name)


def version_argument(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.argument("version", required=False, shell_complete=_complete_version)(function)


def models_file(file: Path | None) -> Path:
    """Return the models file; end the command if none is named."""
    if file is None:
        raise Failure("name the models file with --file or SENTIMENT_MODELS_FILE", WRONG_USAGE)
    return file


def _complete_name(ctx: click.Context, _: click.Parameter, begun: str) -> list[CompletionItem]:
    catalog = _catalog(ctx)
    return [CompletionItem(each.name) for each in catalog.models if each.name.startswith(begun)] if catalog else []


def _complete_version(ctx: click.Context, _: click.Parameter, begun: str) -> list[CompletionItem]:
    catalog = _catalog(ctx)
    named = [each for each in catalog.models if each.name == ctx.params.get("name")] if catalog else []
    sources = [version.source for each in named for version in each.versions]
    return [CompletionItem(source) for source in sources if source.startswith(begun)]


def _catalog(ctx: click.Context) -> Catalog | None:
    """Return what the file says, if there is a valid one: a completion prints no error."""
    file = ctx.params.get("file")
    try:
        return read(file) if isinstance(file, Path) else None
    except ModelsFileError:
        return None
