"""Reads and writes of the shared cache: together, in the background, and not at all while Redis fails.

A lookup never waits for more than one time-out. Lookups that arrive while Redis is answering others go together in the
next command. After a failure nobody waits any more until Redis has answered a PING over a new connection.
"""

import asyncio
import itertools
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from ...logs import log
from .health import Health
from .store import StoreError

_MAX_KEYS_AT_ONCE = 512  # of a command: reading more values would block the event loop for longer
_MAX_WAITING_KEYS = 4096
_MAX_PENDING = 4096  # values to write
_WRITTEN_AT_ONCE = 128

LookupOutcome = Literal["hit", "miss", "failed", "skipped"]
WriteOutcome = Literal["written", "failed", "dropped"]


class Observer(Protocol):
    """Counts what happens."""

    def shared_looked_up(self, outcome: LookupOutcome, texts: int) -> None:
        """Texts were looked up in the shared cache, or could not be."""

    def shared_waited(self, seconds: float) -> None:
        """A request waited for the shared cache."""

    def shared_written(self, outcome: WriteOutcome, predictions: int) -> None:
        """Predictions were written to the shared cache, or could not be."""


class Store(Protocol):
    """See `RedisStore`."""

    async def connect(self) -> None:
        """Connect, and check that there is an answer in time."""

    async def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the value of each key."""
        ...

    async def set_many(self, values: Mapping[bytes, bytes]) -> None:
        """Set these keys."""

    async def close(self) -> None:
        """Close all connections."""


@dataclass(slots=True)
class _Lookup:
    keys: Sequence[bytes]
    values: "asyncio.Future[list[bytes | None] | None]"


class SharedCache:
    """Values by key, in a store that other processes use as well. Lives on the event loop."""

    def __init__(self, store: Store, observer: Observer, *, timeout_s: float) -> None:
        """Requests wait for the store for up to `timeout_s`."""
        self._store = store
        self._observer = observer
        self._timeout_s = timeout_s
        self._lookups: deque[_Lookup] = deque()
        self._waiting_keys = 0
        self._pending: dict[bytes, bytes] = {}
        self._reading, self._writing = Health(), Health()
        self._logged_as_ok: dict[str, bool] = {"writes": True}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._closed = False

    @property
    def is_available(self) -> bool:
        """Whether values are looked up now."""
        return self._reading.is_ok and not self._closed

    def start(self) -> None:
        """Connect in the background. Until then, nothing is looked up."""
        self._run("connect", self._connect)

    async def get(self, keys: Sequence[bytes], left_s: float) -> list[bytes | None] | None:
        """Return the value of each key; None if the store fails, or may not answer within `left_s`."""
        if not self._may_read() or left_s <= self._timeout_s or self._waiting_keys + len(keys) > _MAX_WAITING_KEYS:
            self._observer.shared_looked_up("skipped", len(keys))
            return None
        lookup = _Lookup(keys, asyncio.get_running_loop().create_future())
        self._lookups.append(lookup)
        self._waiting_keys += len(keys)
        self._run("read", self._read)
        started_s = time.perf_counter()
        values = None
        try:
            async with asyncio.timeout(self._timeout_s):
                values = await lookup.values
        except TimeoutError:
            pass
        self._observer.shared_waited(time.perf_counter() - started_s)
        if values is None:
            self._observer.shared_looked_up("failed", len(keys))
        return values

    def count(self, *, hits: int, misses: int) -> None:
        """So many of the values that `get` returned could be used, and so many were missing or could not."""
        self._observer.shared_looked_up("hit", hits)
        self._observer.shared_looked_up("miss", misses)

    def put(self, key: bytes, value: bytes) -> None:
        """Set a value, in the background; drop it while the store fails or is behind."""
        is_ok = self._reading.is_ok and self._writing.may_try(time.monotonic())
        if self._closed or not is_ok or len(self._pending) >= _MAX_PENDING:
            self._observer.shared_written("dropped", 1)
            return
        self._pending[key] = value
        self._run("write", self._write)

    async def connected(self) -> None:
        """Wait until an attempt to connect has ended, if there is one."""
        await self._end_of("connect")

    async def written(self) -> None:
        """Wait until no write is pending."""
        await self._end_of("write")

    async def _end_of(self, name: str) -> None:
        if task := self._tasks.get(name):
            await asyncio.shield(task)

    async def close(self) -> None:
        """Stop at once. What has not been written is lost."""
        self._closed = True
        tasks = [*self._tasks.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._answer_none()
        await self._store.close()

    def _may_read(self) -> bool:
        if not self._reading.is_ok and self._reading.may_try(time.monotonic()):
            self._run("connect", self._connect)
        return self.is_available

    def _run(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Start a task, unless it runs already."""
        if name not in self._tasks and not self._closed:
            self._tasks[name] = asyncio.create_task(self._task(name, work))

    async def _task(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        finally:
            # At once, and not in a callback of the task: work that is added before the callback would never be done.
            del self._tasks[name]

    async def _connect(self) -> None:
        while True:
            try:
                await self._store.connect()
            except Exception as error:
                if self._failed("lookups", self._reading, error):
                    return
            else:
                self._succeeded("lookups", self._reading)
                return

    async def _read(self) -> None:
        while self._lookups:
            lookups, keys = self._take()
            if not lookups:  # nobody waits any more
                continue
            values: list[bytes | None] = []
            try:
                for start in range(0, len(keys), _MAX_KEYS_AT_ONCE):
                    values += await self._store.get_many(keys[start : start + _MAX_KEYS_AT_ONCE])
            except BaseException as error:
                self._lookups.extendleft(lookups)
                self._answer_none()
                if not isinstance(error, Exception):  # `close` cancels this
                    raise
                if not self._failed("lookups", self._reading, error):
                    self._run("connect", self._connect)
                return
            self._succeeded("lookups", self._reading)
            place = 0
            for lookup in lookups:
                if not lookup.values.done():
                    lookup.values.set_result(values[place : place + len(lookup.keys)])
                place += len(lookup.keys)

    def _take(self) -> tuple[list[_Lookup], list[bytes]]:
        """Return the lookups that go together, one at least, and all their keys."""
        lookups: list[_Lookup] = []
        keys: list[bytes] = []
        while self._lookups and (not keys or len(keys) + len(self._lookups[0].keys) <= _MAX_KEYS_AT_ONCE):
            lookup = self._lookups.popleft()
            self._waiting_keys -= len(lookup.keys)
            if not lookup.values.done():  # a request waits
                lookups.append(lookup)
                keys += lookup.keys
        return lookups, keys

    def _answer_none(self) -> None:
        """Let nobody wait any longer."""
        for lookup in self._lookups:
            if not lookup.values.done():
                lookup.values.set_result(None)
        self._lookups.clear()
        self._waiting_keys = 0

    async def _write(self) -> None:
        while self._pending:
            values = {key: self._pending.pop(key) for key in [*itertools.islice(self._pending, _WRITTEN_AT_ONCE)]}
            try:
                await self._store.set_many(values)
            except Exception as error:
                self._observer.shared_written("failed", len(values))
                if self._failed("writes", self._writing, error):
                    self._observer.shared_written("dropped", len(self._pending))
                    self._pending.clear()
            else:
                self._succeeded("writes", self._writing)
                self._observer.shared_written("written", len(values))

    def _failed(self, use: str, health: Health, error: Exception) -> bool:
        """Return whether to pause, instead of trying again at once."""
        pause_s = health.failed(time.monotonic())
        if pause_s and self._logged_as_ok.get(use, True):
            self._logged_as_ok[use] = False
            # The messages of libraries may have what was sent.
            reason = str(error) if isinstance(error, StoreError) else type(error).__qualname__
            log(logging.WARNING, "shared cache paused", use=use, reason=f"Redis: {reason}")
        return pause_s > 0

    def _succeeded(self, use: str, health: Health) -> None:
        health.succeeded()
        if not self._logged_as_ok.get(use, False):
            self._logged_as_ok[use] = True
            log(logging.INFO, "shared cache in use", use=use)
