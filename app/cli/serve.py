"""`rt-sentiment serve`."""

import os
from typing import Any

import click

from .flags import ALL_SETTINGS, read_settings, setting_flags


@click.command()
@setting_flags(ALL_SETTINGS)
def serve(**flags: Any) -> int:
    """Start the HTTP server.

    Each flag can also be set with an environment variable, which is shown in brackets with its default.
    """
    settings = read_settings(flags)
    os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)  # the supervisor of several workers sets its own
    from ..server import serve

    return serve(settings)
