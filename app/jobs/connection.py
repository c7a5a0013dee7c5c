"""Connections to Redis. It is imported only here and when `SENTIMENT_REDIS_URL` is set."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..errors import NotReady, SetupError
from .options import JobOptions

_TIMEOUT_S = 2.0
_RETRY_AFTER_S = 5.0


def connect(options: JobOptions) -> Any:
    """Return a client of the Redis of the options, whose URL may name a user, a password and TLS (`rediss://`).

    It connects with the first command. Raises `SetupError` for a URL that cannot be used, and without the extra.
    """
    try:
        from redis import Redis
        from redis.backoff import NoBackoff
        from redis.exceptions import RedisError
        from redis.retry import Retry
    except ModuleNotFoundError as error:
        raise SetupError(
            "SENTIMENT_REDIS_URL: background jobs need an extra: pip install 'rt-sentiment[jobs]'"
        ) from error
    try:
        file = options.redis_password_file
        client = Redis.from_url(
            options.redis_url,
            password=file.read_text().strip() if file else None,
            socket_timeout=_TIMEOUT_S,
            socket_connect_timeout=_TIMEOUT_S,
            health_check_interval=15,
            retry=Retry(NoBackoff(), 0),  # callers get 503 soon, and workers try again themselves
        )
        client.connection_pool.make_connection()  # connects to nothing, but raises for an option that does not exist
    except OSError as error:
        raise SetupError(f"SENTIMENT_REDIS_PASSWORD_FILE: {file}: {error.strerror}") from None
    except (ValueError, TypeError, RedisError):  # whose messages may quote the password
        raise SetupError("SENTIMENT_REDIS_URL: an option after ? is not valid") from None
    return client


@contextmanager
def translated() -> Iterator[None]:
    """Raise `NotReady` if Redis cannot be used."""
    from redis.exceptions import AuthenticationError, RedisError, ResponseError

    try:
        yield
    except AuthenticationError:
        raise NotReady("background jobs are not available: Redis refuses the password", _RETRY_AFTER_S) from None
    except ResponseError as error:
        why = "it is out of memory" if str(error).startswith("OOM") else "it refuses a command"
        raise NotReady(f"background jobs are not available: Redis: {why}", _RETRY_AFTER_S) from error
    except RedisError as error:
        raise NotReady("background jobs are not available: Redis cannot be reached", _RETRY_AFTER_S) from error
