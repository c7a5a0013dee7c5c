"""The predictions of one model in the shared cache."""

from collections.abc import Sequence

from ...types import Prediction
from .cache import SharedCache
from .entries import Entries


class SharedPredictions:
    """Looks up and keeps predictions by the keys of the cache of the process. Never raises."""

    def __init__(self, cache: SharedCache, entries: Entries) -> None:
        self._cache = cache
        self._entries = entries

    async def get(self, keys: Sequence[bytes], left_s: float) -> dict[bytes, Prediction]:
        """Return the predictions that are there; none if Redis fails, or cannot answer well within `left_s`."""
        names = [self._entries.key(key) for key in keys]
        values = await self._cache.get(names, left_s)
        if values is None:
            return {}
        results = {
            key: prediction
            for key, name, value in zip(keys, names, values, strict=True)
            if (prediction := self._entries.unpack(name, value))
        }
        self._cache.count(hits=len(results), misses=len(keys) - len(results))
        return results

    def put(self, key: bytes, prediction: Prediction) -> None:
        """Keep a prediction, in the background; drop it if Redis cannot take it."""
        name = self._entries.key(key)
        self._cache.put(name, self._entries.pack(name, prediction))
