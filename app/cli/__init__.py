"""The command line `rt-sentiment`: one module per command."""

from .commands import main

__all__ = ["main"]
