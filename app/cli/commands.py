"""The command line: the list of commands, and how they run."""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

import click

from .. import __version__
from ..errors import SentimentError, TableError, TableOptionError
from .exits import FAILED, INTERRUPTED, WRONG_USAGE, Failure

PROGRAM = "rt-sentiment"

# Each command is a module with a `click.Command` of the name after the colon. Only the chosen module is imported, and
# it imports a web framework or a model only when it runs, so that `--help` answers at once.
COMMANDS = {
    "serve": (".serve:serve", "start the HTTP server"),
    "predict": (".predict:predict", "print the sentiment of texts"),
    "score": (".score:score", "add the sentiment of each row to a file"),
    "evaluate": (".evaluate:evaluate", "measure the model on a file of labelled texts"),
    "train": (".train:train", "train a model on your own labels"),
    "models": (".models:models", "change which versions of models are served, and for how many callers"),
    "jobs": (".jobs:jobs", "score files in the background, with a server"),
    "worker": (".worker:worker", "run background jobs"),
    "bench": (".bench:bench", "measure the speed of the model here, or of a server"),
    "capacity": (".capacity:capacity", "say how many replicas and cores a load needs"),
    "key": (".keys:key", "create an API key (same as `keys add`)"),
    "keys": (".keys:keys", "create, list and remove the API keys of a file"),
    "config": (".config:config", "show the settings and where they come from"),
    "doctor": (".doctor:doctor", "check this machine, the model and the settings"),
    "completion": (".completion:completion", "print the script for completion in your shell"),
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Return a command that only has a summary: enough for `--help` and completion."""
        return click.Command(cmd_name, help=COMMANDS[cmd_name][1]) if cmd_name in COMMANDS else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        return name, load(name) if name in COMMANDS else command, rest


def load(name: str) -> click.Command:
    """Import a command."""
    module, _, attribute = COMMANDS[name][0].partition(":")
    command: click.Command = getattr(import_module(module, __package__), attribute)
    return command


program = _Commands(
    PROGRAM,
    help="Low-latency text sentiment over HTTP, in files and in the terminal.",
    epilog="Exit status: 0 success, 1 failure, 2 wrong flag or setting, 3 finished, but some rows have errors (score), "
    "130 stopped with Ctrl-C.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
program = click.version_option(__version__, prog_name=PROGRAM, message="%(prog)s %(version)s")(program)


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run a command and exit with the status that it returns: see `exits`."""
    try:
        status = program.main(argv, PROGRAM, standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        status = error.exit_code
    except Failure as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        status = error.status
    except SentimentError as error:
        why = error.explain(_flag) if isinstance(error, TableError) else str(error)
        print(f"{PROGRAM}: {why}", file=sys.stderr)
        status = WRONG_USAGE if isinstance(error, TableOptionError) else FAILED
    except (click.Abort, KeyboardInterrupt):
        status = INTERRUPTED
    except BrokenPipeError:  # the reader of the output has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes stdout once more when it exits
        status = FAILED
    except OSError as error:  # such as a full disk behind standard output
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        status = FAILED
    sys.exit(status)


def _flag(option: str) -> str:
    return "--" + option.replace("_", "-")
