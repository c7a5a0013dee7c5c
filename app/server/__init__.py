"""The process: socket, uvicorn, signals, drain, and the supervisor of several processes."""

from ..sockets import authority, is_loopback, listen
from .process import serve

__all__ = ["authority", "is_loopback", "listen", "serve"]
