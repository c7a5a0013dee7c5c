"""How many connections may be open at once, and which one is closed for a new one."""

import logging
import resource
import time
from typing import Protocol

from ..logs import log

_SPARE_FILES = 64  # for what else the process opens, and for connections over the limit
_MAX_EXTRA = 32
_LOG_EVERY_S = 10.0


class Connection(Protocol):
    """What `Connections` needs to know of a connection."""

    def give_way(self) -> None:
        """Close it, although its client has done nothing wrong."""


class Connections:
    """The open connections of this process, at most `limit`.

    For a new one, the connection is closed that has waited longest for its client: for a request, for the rest of one,
    or until a response was read. If none waits, because all requests are being answered, a few more are let in. They
    may only send probes: if health checks failed, the replica would be replaced while it works well.
    """

    def __init__(self, limit: int, max_files: int) -> None:
        self._limit = limit
        self._max_file = max_files - _SPARE_FILES if max_files > 2 * _SPARE_FILES else max_files // 2
        self._open: set[Connection] = set()
        self._waiting: dict[Connection, None] = {}  # the longest wait comes first
        self._extra: dict[Connection, None] = {}  # the oldest comes first
        self._closed = self._refused = 0  # since the last log line
        self._next_log_s = 0.0

    def add(self, connection: Connection, file: int) -> bool:
        """Count a new connection, and return whether it is within the limit. `file` is the number of its descriptor."""
        # The kernel takes the lowest free number, so a high one means that nearly all are in use.
        within = len(self._open) < self._limit and file < self._max_file
        if not within and self._waiting:
            longest = next(iter(self._waiting))
            self.remove(longest)
            self._closed += 1
            longest.give_way()
            within = True
        if within:
            self._open.add(connection)
            self._waiting[connection] = None
        else:
            self._extra[connection] = None
            if len(self._extra) > _MAX_EXTRA:
                oldest = next(iter(self._extra))
                self.remove(oldest)
                self._refused += 1
                oldest.give_way()
        self._log()
        return within

    def wait(self, connection: Connection) -> None:
        """Note that from now on a connection waits for its client."""
        if connection in self._open:
            self._waiting.pop(connection, None)
            self._waiting[connection] = None

    def work(self, connection: Connection) -> None:
        """Note that a connection has a request to answer."""
        self._waiting.pop(connection, None)

    def remove(self, connection: Connection) -> None:
        """Forget a connection that is closed."""
        self._open.discard(connection)
        self._waiting.pop(connection, None)
        self._extra.pop(connection, None)

    def refused(self) -> None:
        """Note that a request over the limit was refused."""
        self._refused += 1
        self._log()

    def _log(self) -> None:
        now = time.monotonic()
        if (self._closed or self._refused) and now >= self._next_log_s:
            fields = {"open": len(self._open), "closed": self._closed, "refused": self._refused}
            log(logging.WARNING, "too many connections", **fields)
            self._closed = self._refused = 0
            self._next_log_s = now + _LOG_EVERY_S


def allow_open_files(connections: int) -> int:
    """Raise the limit on open files as far as these connections need and the system allows; return the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = connections + 2 * _SPARE_FILES
    if soft == resource.RLIM_INFINITY:
        return needed
    if soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return soft
