"""`rt-sentiment models sign`."""

from pathlib import Path

import click

from ..exits import OK, Failure


@click.command(short_help="Sign a model with a private key.")
@click.argument("directory", metavar="PATH", type=click.Path(path_type=Path))
@click.option("--key", type=click.Path(path_type=Path), required=True, metavar="FILE", help="Private key (PEM).")
@click.option(
    "--password-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="File with the password of the key, if any.",
)
def sign(*, directory: Path, key: Path, password_file: Path | None) -> int:
    """Write model.sig into the directory PATH of an exported model, and print its name.

    Servers with the public key in SENTIMENT_MODELS_KEYS load only models that are signed. The key is on an elliptic
    curve; `openssl ecparam -name prime256v1 -genkey -noout -out private.pem` creates one, and
    `openssl ec -in private.pem -pubout -out public.pem` writes its public part.
    """
    from ...artifacts import sign as sign_artifact

    if not directory.is_dir():
        raise Failure(f"{directory}: there is no such directory")
    try:
        password = password_file.read_text().rstrip("\n") if password_file else None
    except OSError as error:
        raise Failure(f"--password-file {password_file}: {error.strerror}") from None
    click.echo(sign_artifact(directory, key, password))
    return OK
