"""How many connections may be open at once, and which one is closed for a new one."""

import logging
import resource
import time
from typing import Protocol

from ..logs import log

_OTHER_FILES = 128  # what else the process opens, and connections that are being closed
_BACKLOG = 2048  # connections that can arrive at once, before one is closed for each of them
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

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open: set[Connection] = set()
        self._waiting: dict[Connection, None] = {}  # the longest wait comes first
        self._extra: dict[Connection, None] = {}  # the oldest comes first
        self._closed = self._refused = 0  # since the last log line
        self._next_log_s = 0.0

    def add(self, connection: Connection) -> bool:
        """Count a new connection, and return whether it is within the limit."""
        within = len(self._open) < self._limit
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


def allow_connections(maximum: int) -> int:
    """Raise the limit on open files as far as needed and allowed; return how many connections can be open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return maximum
    needed = maximum + _BACKLOG + _OTHER_FILES
    if soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    allowed = max(1, soft // 2, soft - _OTHER_FILES)
    if allowed < maximum:
        log(logging.WARNING, "few open files allowed", files=soft, connections=allowed)
    return min(maximum, allowed)
