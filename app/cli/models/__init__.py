"""`rt-sentiment models`: which versions of models are served, and for how many callers."""

from .command import models

__all__ = ["models"]
