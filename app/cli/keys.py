"""`rt-sentiment keys`, and `rt-sentiment key`, which is `keys add`."""

from pathlib import Path

import click

from .console import print_json
from .exits import Failure


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("name")
def key(file: Path, name: str) -> int:
    """Create an API key for NAME, print it, and add its name and hash to FILE.

    FILE is what SENTIMENT_API_KEYS_FILE names; running servers notice the change. NAME is the client that owns the key;
    it appears in the logs.
    """
    from ..access import add_key
    from ..errors import KeysError

    try:
        click.echo(add_key(file, name))
    except KeysError as error:
        raise Failure(str(error)) from None
    return 0


@click.group()
def keys() -> None:
    """Create and list the API keys of a file. To remove a key, remove its line: running servers notice."""


keys.add_command(key, "add")


@keys.command("list")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_keys(*, file: Path, as_json: bool) -> int:
    """Print the names of the keys in FILE."""
    from ..access import Keys
    from ..errors import KeysError

    try:
        names = Keys(file).names
    except KeysError as error:
        raise Failure(str(error)) from None
    if as_json:
        print_json(names)
    else:
        for name in names:
            click.echo(name)
    return 0
