"""`rt-sentiment keys`, and `rt-sentiment key`, which is `keys add`."""

from datetime import UTC
from pathlib import Path
from typing import Any

import click

from .console import print_json, print_table
from .exits import WRONG_USAGE, Failure


@click.command(short_help="Create an API key and add it to a file.")
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("name")
@click.option(
    "--expires",
    metavar="90d|12h|DATE",
    help="When the key ends: after days or hours, or at the start of a day in UTC, such as 2027-01-31 [never].",
)
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    help="What the key is for: predict, jobs or admin; may be given several times [predict].",
)
def key(file: Path, name: str, expires: str | None, scopes: tuple[str, ...]) -> int:
    """Create an API key for NAME, print it, and add its name and hash to FILE.

    FILE is what SENTIMENT_API_KEYS_FILE names; running servers notice the change. NAME is the client that owns the key;
    it appears in the logs.
    """
    from ..access import SCOPES, add_key, parse_expiry
    from ..errors import KeysError

    if unknown := [scope for scope in scopes if scope not in SCOPES]:
        raise Failure(f"--scope {unknown[0]}: expected {', '.join(SCOPES)}", WRONG_USAGE)
    try:
        ends = None if expires is None else parse_expiry(expires)
    except (ValueError, OverflowError):
        raise Failure("--expires: expected 90d, 12h or a date in the future", WRONG_USAGE) from None
    try:
        click.echo(add_key(file, name, expires=ends, scopes=[scope for scope in SCOPES if scope in scopes]))
    except KeysError as error:
        raise Failure(str(error)) from None
    return 0


@click.group()
def keys() -> None:
    """Create, list and remove the API keys of a file. Running servers notice each change."""


keys.add_command(key, "add")


@keys.command("list", short_help="Print the names of the keys in a file.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_keys(*, file: Path, as_json: bool) -> int:
    """Print the names of the keys in FILE, when they end and what they are for."""
    from ..access import SCOPES, read_keys
    from ..errors import KeysError

    try:
        found = read_keys(file)
    except KeysError as error:
        raise Failure(str(error)) from None
    rows: list[dict[str, Any]] = [
        {
            "name": key.name,
            "expires": f"{key.expires.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" if key.expires else None,
            "expired": key.has_expired(),
            "scopes": [scope for scope in SCOPES if scope in key.scopes],
        }
        for key in found
    ]
    if as_json:
        print_json(rows)
    else:
        shown = [
            (row["name"], (row["expires"] or "never") + " (expired)" * row["expired"], ", ".join(row["scopes"]))
            for row in rows
        ]
        print_table(("name", "expires", "scopes"), shown)
    return 0


@keys.command("remove", short_help="Remove a key from a file.")
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("name")
def remove(*, file: Path, name: str) -> int:
    """Remove the key of NAME from FILE. Requests with it are refused as soon as the servers notice."""
    from ..access import remove_key
    from ..errors import KeysError

    try:
        remove_key(file, name)
    except KeysError as error:
        raise Failure(str(error)) from None
    return 0
