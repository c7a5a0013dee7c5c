"""How much a caller may ask for: a sliding window of texts, counted in this process or, for all replicas, in Redis.

The algorithm is the sliding window counter of the package `limits`: two counters a caller, whatever the rate.
"""

import logging
import math
import time
from dataclasses import dataclass
from typing import Any

from limits import parse
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.errors import ConfigurationError, StorageError
from limits.storage import storage_from_string

from ..errors import RateLimited, SetupError, TextTooLong
from ..logs import log

_PATIENCE_S = 0.25  # with Redis
_COMPLAIN_EVERY_S = 10.0
_SURELY_S = 0.001


@dataclass(frozen=True, slots=True)
class Quota:
    """What a caller has left: texts of how many, and in how many seconds some or all of them come back."""

    limit: int
    remaining: int
    reset_s: int
    passed: bool  # whether what was asked for is within it


class RateLimit:
    """Counts texts by caller. While Redis cannot be reached everybody passes: limits are there to keep a service up."""

    def __init__(self, rate: str, storage: str) -> None:
        """Take a `rate` such as `1000/minute`; `storage` is `memory` or an address `redis://…`."""
        self._item = parse(rate)
        self._pool = _pool(storage) if storage != "memory" else None
        address = f"async+{storage}" if self._pool else "async+memory://"
        options: Any = {"connection_pool": self._pool, "implementation": "redispy"} if self._pool else {}
        try:
            self._storage: Any = storage_from_string(address, wrap_exceptions=True, **options)
            self._counter = SlidingWindowCounterRateLimiter(self._storage)
        except ConfigurationError as error:  # a client of Redis that is too old
            raise SetupError(f"RATE_LIMIT_STORAGE: {error}") from None
        self._complained_s = -math.inf

    async def take(self, caller: str, texts: int) -> Quota | None:
        """Count `texts` of `caller`; return what is left, or None while nobody counts.

        Raises `TextTooLong` when they are more than any caller may send at once.
        """
        if texts > self._item.amount:
            raise TextTooLong(f"over {self._item}, which is all that one caller may send")
        try:
            passed = await self._counter.hit(self._item, caller, cost=texts)
            window = await self._counter.get_window_stats(self._item, caller)
            reset_s = window.reset_time - time.time()
            if not passed:
                counts = await self._storage.get_sliding_window(self._item.key_for(caller), self._item.get_expiry())
                reset_s = until_room(*counts, window_s=self._item.get_expiry(), room=self._item.amount - texts)
        except StorageError as error:
            self._complain(error.storage_error)
            return None
        return Quota(self._item.amount, max(0, window.remaining), max(1, math.ceil(reset_s)), passed=passed)

    def refusal(self, quota: Quota) -> RateLimited:
        """The error for a caller whose `quota` did not suffice."""
        return RateLimited(f"over {self._item}, which is all that one caller may send", quota.reset_s)

    def _complain(self, error: BaseException) -> None:
        now_s = time.monotonic()
        if now_s - self._complained_s > _COMPLAIN_EVERY_S:
            self._complained_s = now_s
            log(logging.ERROR, "rates not counted, everybody passes", reason=type(error).__qualname__)

    async def close(self) -> None:
        """Give back what is open."""
        if self._pool:
            await self._pool.aclose()


def until_room(before: int, before_s: float, now: int, now_s: float, *, window_s: float, room: int) -> float:
    """Seconds until no more than `room` texts count, parts of a text left away.

    Of the window `before` the share counts that is left of it, none in `before_s`. Of the one that is `now` all counts,
    until it is the one before and fades, too: none in `now_s`.
    """
    if before and now <= room:
        return max(0.0, before_s - (room + 1 - now) * window_s / before + _SURELY_S)
    return max(0.0, now_s - (room + 1) * window_s / now + _SURELY_S) if now else 0.0


def _pool(address: str) -> Any:
    try:
        from redis.asyncio import ConnectionPool  # an extra, for those who have several replicas
    except ModuleNotFoundError as error:
        raise SetupError("RATE_LIMIT_STORAGE: Redis takes a package more: pip install 'rt-sentiment[redis]'") from error
    try:
        return ConnectionPool.from_url(address, socket_timeout=_PATIENCE_S, socket_connect_timeout=_PATIENCE_S)
    except ValueError as error:
        raise SetupError(f"RATE_LIMIT_STORAGE: {error}") from None
