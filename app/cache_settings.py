"""The settings of the cache, in the process and in Redis: a part of `Settings`."""

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings

from .setting_types import RedisUrl


class CacheSettings(BaseSettings):
    """What is kept of predictions, where, and for whom."""

    cache_entries: int = Field(
        10_000, ge=0, description="predictions to cache for repeated texts; 0 disables the cache of the process"
    )
    cache_scope: Literal["shared", "key"] = Field(
        "shared",
        description="who shares cached and running predictions: all clients, or only those with the same API key",
    )
    cache_redis_url: RedisUrl = Field(
        "",
        description="Redis of a second cache, which replicas share and restarts keep, such as "
        "redis://user:password@host:6379/0 or rediss://… for TLS; empty means none",
    )
    cache_redis_password_file: Path | None = Field(
        None, description="file with the password of that Redis, if its URL has none"
    )
    cache_redis_timeout_ms: float = Field(
        20, gt=0, le=1000, description="milliseconds that a request waits for that Redis, before the model runs"
    )
    cache_redis_ttl_s: int = Field(
        24 * 3600, ge=1, le=10 * 365 * 24 * 3600, description="seconds for which that Redis keeps a prediction"
    )
