"""Rate limits: a sliding window of texts per caller, counted in this process or, for all replicas together, in Redis.

The algorithm is the sliding window counter of the `limits` package: two counters per caller, whatever the rate. Its
storage in memory looks at every caller with each request, so this process counts in `windows`.
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
from .windows import SlidingWindows, Window

_REDIS_TIMEOUT_S = 0.25
_LOG_EVERY_S = 10.0
_MARGIN_S = 0.001  # so that rounding does not end a wait too early


@dataclass(frozen=True, slots=True)
class Quota:
    """State of a caller's rate limit: `remaining` of `limit` texts, some or all of which come back in `reset_s`."""

    limit: int
    remaining: int
    reset_s: int
    passed: bool  # whether the request is within the limit


class RateLimit:
    """Counts texts per caller. While Redis is unreachable all requests pass, because limits exist to protect uptime."""

    def __init__(self, rate: str, storage: str) -> None:
        """Create a limit from a `rate` such as `1000/minute`; `storage` is `memory` or a `redis://…` address."""
        self._item = parse(rate)
        self._window_s = self._item.get_expiry()
        self._memory = SlidingWindows(self._item.amount, self._window_s)
        self._pool: Any = None
        if storage != "memory":
            self._pool = _connection_pool(storage)
            try:
                self._storage: Any = storage_from_string(
                    f"async+{storage}",
                    wrap_exceptions=True,
                    connection_pool=self._pool,
                    implementation="redispy",
                )
                self._counter = SlidingWindowCounterRateLimiter(self._storage)
            except ConfigurationError as error:  # the Redis client is too old
                raise SetupError(f"SENTIMENT_RATE_LIMIT_STORAGE: {error}") from None
        self._logged_s = -math.inf

    async def take(self, caller: str, texts: int, *, counted: int = 0) -> Quota | None:
        """Count the `texts` of a request for `caller`, of which `counted` have been counted before.

        Return the caller's quota, or None while the storage is unreachable. Raises `TextTooLong` for more texts than
        the limit ever allows at once.
        """
        if texts > self._item.amount:
            raise TextTooLong(f"over the rate limit of {self._item} per client")
        if self._pool is None:
            passed, window = self._memory.take(caller, texts - counted, time.monotonic())
        else:
            try:
                passed = await self._counter.hit(self._item, caller, cost=texts - counted)
                window = Window(*await self._storage.get_sliding_window(self._item.key_for(caller), self._window_s))
            except StorageError as error:
                self._log_unavailable(error.storage_error)
                return None
        used = window.used(self._window_s)
        room = used - 1 if passed else self._item.amount - texts
        reset_s = until_room(window, window_s=self._window_s, room=max(0, room))
        return Quota(self._item.amount, max(0, self._item.amount - used), max(1, math.ceil(reset_s)), passed=passed)

    def refusal(self, quota: Quota) -> RateLimited:
        """Return the error for a caller whose `quota` is used up."""
        return RateLimited(f"over the rate limit of {self._item} per client", quota.reset_s)

    def _log_unavailable(self, error: BaseException) -> None:
        now_s = time.monotonic()
        if now_s - self._logged_s > _LOG_EVERY_S:
            self._logged_s = now_s
            log(logging.ERROR, "rate limits not enforced", reason=type(error).__qualname__)

    async def close(self) -> None:
        if self._pool:
            await self._pool.aclose()


def until_room(window: Window, *, window_s: float, room: int) -> float:
    """Return the seconds until the estimated count, rounded down, is at most `room`.

    The current window counts in full until it becomes the previous one, and fades then.
    """
    if window.previous and window.current <= room:
        return max(0.0, window.previous_s - (room + 1 - window.current) * window_s / window.previous + _MARGIN_S)
    if window.current:
        return max(0.0, window.current_s - (room + 1) * window_s / window.current + _MARGIN_S)
    return 0.0


def _connection_pool(address: str) -> Any:
    try:
        from redis.asyncio import ConnectionPool  # an optional dependency, needed only with several replicas
    except ModuleNotFoundError as error:
        raise SetupError(
            "SENTIMENT_RATE_LIMIT_STORAGE: Redis needs an extra: pip install 'rt-sentiment[redis]'"
        ) from error
    try:
        return ConnectionPool.from_url(
            address, socket_timeout=_REDIS_TIMEOUT_S, socket_connect_timeout=_REDIS_TIMEOUT_S
        )
    except ValueError as error:
        raise SetupError(f"SENTIMENT_RATE_LIMIT_STORAGE: {error}") from None
