"""A store in memory, for tests of the shared cache without a Redis."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry

from app.metrics import Metrics
from app.serving.shared import Entries, SharedCache, SharedPredictions
from app.serving.shared.store import StoreError
from tests.support.bench import MAX_TOKENS
from tests.support.waiting import HANG_S, async_until

LABELS = [str(tokens) for tokens in range(1, MAX_TOKENS + 1)]  # of the model of `tests.support.bench`


@dataclass
class MemoryStore:
    """Answers while `is_open` is set, and fails while `is_failing`."""

    values: dict[bytes, bytes] = field(default_factory=dict)
    is_open: asyncio.Event = field(default_factory=asyncio.Event)
    is_failing: bool = False
    reads: list[int] = field(default_factory=list)  # keys of each command
    connects: int = 0
    writes: int = 0

    def __post_init__(self) -> None:
        self.is_open.set()

    async def connect(self) -> None:
        self.connects += 1
        await self._answer()

    async def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        self.reads.append(len(keys))
        await self._answer()
        return [self.values.get(key) for key in keys]

    async def set_many(self, values: Mapping[bytes, bytes]) -> None:
        self.writes += 1
        await self._answer()
        self.values |= values

    async def close(self) -> None:
        pass

    async def _answer(self) -> None:
        if self.is_failing:
            raise StoreError("it fails on purpose")
        await self.is_open.wait()
        if self.is_failing:
            raise StoreError("it fails on purpose")


@dataclass
class Replica:
    """What a process has of the shared cache, and its metrics."""

    store: MemoryStore
    cache: SharedCache
    metrics: Metrics

    def predictions(self, fingerprint: bytes = b"model") -> SharedPredictions:
        return SharedPredictions(self.cache, Entries(fingerprint, LABELS, 0.0))

    def lookups(self, outcome: str) -> float:
        return self._count("sentiment_shared_cache_total", outcome)

    def writes(self, outcome: str) -> float:
        return self._count("sentiment_shared_cache_writes_total", outcome)

    def _count(self, name: str, outcome: str) -> float:
        return self.metrics.registry.get_sample_value(name, {"outcome": outcome}) or 0


@asynccontextmanager
async def replica(
    store: MemoryStore | None = None, *, timeout_s: float = HANG_S, connected: bool = True
) -> AsyncIterator[Replica]:
    """Yield a shared cache, once it is connected."""
    store = store or MemoryStore()
    metrics = Metrics(CollectorRegistry())
    cache = SharedCache(store, metrics, timeout_s=timeout_s)
    cache.start()
    if connected:
        await async_until(lambda: cache.is_available)
    try:
        yield Replica(store, cache, metrics)
    finally:
        await cache.close()
