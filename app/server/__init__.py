"""The process: socket, uvicorn, signals, drain, and the supervisor of several processes."""

from .process import serve
from .sockets import authority, is_loopback, listen

__all__ = ["authority", "is_loopback", "listen", "serve"]
