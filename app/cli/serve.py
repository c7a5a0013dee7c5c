"""`rt-sentiment serve`."""

import os
from typing import Any

import click

from ..config import Settings
from .flags import read_settings, setting_flags


@click.command()
@setting_flags(Settings.model_fields)
def serve(**flags: Any) -> int:
    """Start the HTTP server.

    Each flag can also be set with an environment variable, which is shown in brackets with its default.
    """
    settings = read_settings(flags)
    os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)  # the supervisor of several workers sets its own
    from ..server import serve

    return serve(settings)
