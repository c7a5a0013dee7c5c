"""`rt-sentiment jobs`: send, follow and fetch background jobs of a server."""

from .command import jobs

__all__ = ["jobs"]
