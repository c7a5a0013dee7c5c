"""`rt-sentiment models`: the group, `list` and `log`."""

from pathlib import Path

import click

from ...catalog import Catalog, ModelSpec, Shares, VersionSpec, audit_file, read, read_log
from ..console import print_json, print_table
from ..exits import OK
from .artifacts import manifest_versions, readable_checksum
from .change import CHANGES
from .compare import compare
from .flags import file_flag, models_file, name_argument
from .live import print_live
from .sign import sign
from .verify import verify


@click.group()
def models() -> None:
    """Check, sign and compare models, and change which versions are served. Running servers follow the models file."""


for each in (*CHANGES, verify, sign, compare):
    models.add_command(each)


@models.command("list")
@click.option("--url", help="Show what the server there serves, instead of what the file says.")
@click.option("--api-key", envvar="RT_SENTIMENT_API_KEY", show_envvar=True, help="Key, for --url.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@file_flag
def list_models(*, file: Path | None, url: str | None, api_key: str | None, as_json: bool) -> int:
    """Print the models and their versions. The first model is the default."""
    if url is not None:
        return print_live(url, api_key, as_json=as_json)
    path = models_file(file)
    catalog = read(path)
    if as_json:
        print_json({"models": [_render(path, catalog, model) for model in catalog.models]})
        return OK
    rows = []
    for model in catalog.models:
        versions = manifest_versions(path, model)
        name = f"{model.name} (default)" if model is catalog.default else model.name
        rows += [(name, versions.get(each.source, ""), _weight(each), each.source) for each in model.versions]
    print_table(("model", "version", "weight", "source"), rows, numbers=(2,))
    return OK


@models.command("log", short_help="Print who changed what.")
@name_argument(required=False)
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="At most so many changes.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@file_flag
def log(*, name: str | None, file: Path | None, limit: int, as_json: bool) -> int:
    """Print who changed what, the newest change first, of one model or of all."""
    path = models_file(file)
    changes = [change for change in read_log(audit_file(path)) if name in (None, change.model)]
    if name is not None and not changes:
        read(path).find(name)  # says which models there are
    newest = changes[: -limit - 1 : -1]
    if as_json:
        print_json([change.render() for change in newest])
        return OK
    rows = [
        (
            f"{change.when:%Y-%m-%d %H:%M:%S}", change.who, change.command, change.model, change.version,
            f"{_in_words(change.before)} -> {_in_words(change.after)}", (change.checksum or "")[: len("sha256:") + 12],
        )
        for change in newest
    ]  # fmt: skip
    print_table(("when (UTC)", "who", "command", "model", "version", "weights", "checksum"), rows)
    return OK


def _render(path: Path, catalog: Catalog, model: ModelSpec) -> dict[str, object]:
    names = manifest_versions(path, model)
    versions = [
        {
            "version": names.get(each.source),
            "source": each.source,
            "weight": each.weight,
            "shadow": each.shadow,
            "checksum": readable_checksum(path, each),
        }
        for each in model.versions
    ]
    return {"name": model.name, "default": model is catalog.default, "versions": versions}


def _weight(version: VersionSpec) -> str:
    return "shadow" if version.shadow else f"{version.weight:g}"


def _in_words(shares: Shares) -> str:
    """Return the versions that matter: those with callers."""
    shown = [f"{source} {share:g}" for source, share in shares.items() if not isinstance(share, str) and share]
    return ", ".join(shown) or "none"
