"""`rt-sentiment completion`."""

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> int:
    """Print the script that lets your shell complete commands and flags.

    \b
    bash:  eval "$(rt-sentiment completion bash)"       in ~/.bashrc
    zsh:   eval "$(rt-sentiment completion zsh)"        in ~/.zshrc
    fish:  rt-sentiment completion fish > ~/.config/fish/completions/rt-sentiment.fish
    """  # noqa: D301 - click looks for the character itself, which stops it from joining the lines
    from .commands import PROGRAM, program

    completer = get_completion_class(shell)
    assert completer is not None
    click.echo(completer(program, {}, PROGRAM, "_RT_SENTIMENT_COMPLETE").source())
    return 0
