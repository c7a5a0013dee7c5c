"""The command line: the list of commands, and how they run."""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from .. import __version__

# Each command is a module with `add_arguments(parser)` and `run(args)`, which returns the exit status. Only the chosen
# module is imported, and it imports a web framework or a model only in `run`, so that `--help` answers at once.
COMMANDS = {
    "serve": (".serve", "start the HTTP server"),
    "predict": (".predict", "print the sentiment of texts, one JSON object per line"),
    "key": (".keys", "create an API key, print it, and add its name and hash to a file"),
}


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run a command and exit: 0 for success, 1 for a failure, 2 for a wrong setting or flag, 130 after Ctrl-C."""
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(prog="rt-sentiment", description="Low-latency text sentiment over HTTP.")
    parser.add_argument("--version", action="version", version=f"rt-sentiment {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, (module_name, summary) in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary)
        if name in argv[:1]:
            module = import_module(module_name, __package__)
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    args = parser.parse_args(argv)
    sys.exit(args.run(args))
