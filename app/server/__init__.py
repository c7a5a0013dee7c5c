"""The process: socket, uvicorn, signals, drain, and the supervisor of several processes."""

from .process import serve

__all__ = ["serve"]
