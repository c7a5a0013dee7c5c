"""The command line `rt-sentiment`."""

from .run import main

__all__ = ["main"]
