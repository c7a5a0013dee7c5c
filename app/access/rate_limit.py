"""Rate limits: a sliding window of texts per caller, counted in this process or, for all replicas together, in Redis.

The algorithm is the sliding window counter of the `limits` package: two counters per caller, whatever the rate.
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
        self._pool = _connection_pool(storage) if storage != "memory" else None
        address = f"async+{storage}" if self._pool else "async+memory://"
        options: Any = {"connection_pool": self._pool, "implementation": "redispy"} if self._pool else {}
        try:
            self._storage: Any = storage_from_string(address, wrap_exceptions=True, **options)
            self._counter = SlidingWindowCounterRateLimiter(self._storage)
        except ConfigurationError as error:  # the Redis client is too old
            raise SetupError(f"RATE_LIMIT_STORAGE: {error}") from None
        self._logged_s = -math.inf

    async def take(self, caller: str, texts: int) -> Quota | None:
        """Count `texts` for `caller`; return the caller's quota, or None while the storage is unreachable.

        Raises `TextTooLong` for more texts than the limit ever allows at once.
        """
        if texts > self._item.amount:
            raise TextTooLong(f"over the rate limit of {self._item} per client")
        try:
            passed = await self._counter.hit(self._item, caller, cost=texts)
            window = await self._counter.get_window_stats(self._item, caller)
            reset_s = window.reset_time - time.time()
            if not passed:
                counts = await self._storage.get_sliding_window(self._item.key_for(caller), self._item.get_expiry())
                reset_s = until_room(*counts, window_s=self._item.get_expiry(), room=self._item.amount - texts)
        except StorageError as error:
            self._log_unavailable(error.storage_error)
            return None
        return Quota(self._item.amount, max(0, window.remaining), max(1, math.ceil(reset_s)), passed=passed)

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


def until_room(
    previous: int, previous_s: float, current: int, current_s: float, *, window_s: float, room: int
) -> float:
    """Return the seconds until the estimated count, rounded down, is at most `room`.

    The `previous` window counts in proportion to what the sliding window still covers of it, which is nothing in
    `previous_s`. The `current` window counts in full until then, becomes the previous one and fades in turn: it counts
    nothing in `current_s`.
    """
    if previous and current <= room:
        return max(0.0, previous_s - (room + 1 - current) * window_s / previous + _MARGIN_S)
    return max(0.0, current_s - (room + 1) * window_s / current + _MARGIN_S) if current else 0.0


def _connection_pool(address: str) -> Any:
    try:
        from redis.asyncio import ConnectionPool  # an optional dependency, needed only with several replicas
    except ModuleNotFoundError as error:
        raise SetupError("RATE_LIMIT_STORAGE: Redis needs an extra: pip install 'rt-sentiment[redis]'") from error
    try:
        return ConnectionPool.from_url(
            address, socket_timeout=_REDIS_TIMEOUT_S, socket_connect_timeout=_REDIS_TIMEOUT_S
        )
    except ValueError as error:
        raise SetupError(f"RATE_LIMIT_STORAGE: {error}") from None
