"""`rt-sentiment serve`."""

import argparse
import os

from ..config import Settings
from .flags import add_flags, read_settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Start the HTTP server. Each flag can also be set with an environment variable, "
        "which is shown in brackets with its default."
    )
    add_flags(parser, Settings.model_fields)


def run(args: argparse.Namespace) -> int:
    settings = read_settings(args)
    os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)  # the supervisor of several workers sets its own
    from ..server import serve

    return serve(settings)
