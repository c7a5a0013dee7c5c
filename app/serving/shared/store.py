"""Connections to the Redis of the shared cache. It is imported only here and when that cache is on."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import SetupError

_CONNECT_S = 2.0


@dataclass(frozen=True, slots=True)
class SharedCacheOptions:
    """Where the shared cache is, and how long to wait for it."""

    url: str
    password_file: Path | None = None
    timeout_s: float = 0.02
    ttl_s: int = 24 * 3600


class StoreError(Exception):
    """Redis did not do what it was asked; the message is a fixed phrase."""


class RedisStore:
    """Reads over one connection and writes over another, each for one task at a time.

    A connection is opened when it is first used, and again after an error.
    """

    def __init__(self, options: SharedCacheOptions) -> None:
        """Raise `SetupError` for a URL that cannot be used, and without the extra."""
        self._ttl_s = options.ttl_s
        self._timeout_s = options.timeout_s
        self._reader, self._writer = _client(options), _client(options)

    async def connect(self) -> None:
        """Connect for reading, which may take longer than an answer may. Raises `StoreError`."""
        async with _translated(_CONNECT_S):
            await self._reader.ping()
        async with _translated(self._timeout_s):  # now over a connection that is open
            await self._reader.ping()

    async def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the value of each key. Raises `StoreError`."""
        async with _translated(self._timeout_s):
            values: list[bytes | None] = await self._reader.mget(keys)
        return values

    async def set_many(self, values: Mapping[bytes, bytes]) -> None:
        """Set these keys until they expire. Raises `StoreError`, after which some may be set."""
        async with _translated(_CONNECT_S):
            pipeline = self._writer.pipeline(transaction=False)
            for key, value in values.items():
                pipeline.set(key, value, ex=self._ttl_s)
            await pipeline.execute()

    async def close(self) -> None:
        for client in (self._reader, self._writer):
            await client.aclose()


def _client(options: SharedCacheOptions) -> Any:
    try:
        from redis.asyncio import Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff
        from redis.exceptions import RedisError
    except ModuleNotFoundError as error:
        raise SetupError(
            "SENTIMENT_CACHE_REDIS_URL: the shared cache needs an extra: pip install 'rt-sentiment[redis]'"
        ) from error
    try:
        file = options.password_file
        client: Any = Redis.from_url(
            options.url,
            password=file.read_text().strip() if file else None,
            socket_timeout=_CONNECT_S,
            socket_connect_timeout=_CONNECT_S,
            decode_responses=False,
            retry=Retry(NoBackoff(), 0),  # `SharedCache` decides when to try again
        )
        client.connection_pool.make_connection()  # connects to nothing, but raises for an option that does not exist
    except OSError as error:
        raise SetupError(f"SENTIMENT_CACHE_REDIS_PASSWORD_FILE: {file}: {error.strerror}") from None
    except (ValueError, TypeError, RedisError):  # whose messages may quote the password
        raise SetupError("SENTIMENT_CACHE_REDIS_URL: an option after ? is not valid") from None
    return client


@asynccontextmanager
async def _translated(timeout_s: float) -> AsyncIterator[None]:
    """Raise `StoreError` for what goes wrong, or takes longer than `timeout_s`."""
    from redis.exceptions import AuthenticationError, RedisError, ResponseError
    from redis.exceptions import TimeoutError as RedisTimeoutError

    try:
        async with asyncio.timeout(timeout_s):
            yield
    except (TimeoutError, RedisTimeoutError):
        raise StoreError("it does not answer in time") from None
    except AuthenticationError:
        raise StoreError("it refuses the password") from None
    except ResponseError as error:
        why = "it is out of memory" if str(error).startswith("OOM") else "it refuses a command"
        raise StoreError(why) from None
    except (RedisError, OSError):
        raise StoreError("it cannot be reached") from None
