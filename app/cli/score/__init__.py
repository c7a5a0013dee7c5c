"""`rt-sentiment score`: rows in, the same rows with their sentiment out."""

from .command import score

__all__ = ["score"]
