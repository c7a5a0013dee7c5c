"""The command line `rt-sentiment`: one module per command."""

from .parser import main

__all__ = ["main"]
