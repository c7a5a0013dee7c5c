"""The second level of the cache: predictions in a Redis, which replicas share and restarts keep.

Redis is imported only when `SENTIMENT_CACHE_REDIS_URL` is set.
"""

from .cache import SharedCache
from .entries import Entries
from .predictions import SharedPredictions
from .store import RedisStore, SharedCacheOptions

__all__ = ["Entries", "RedisStore", "SharedCache", "SharedCacheOptions", "SharedPredictions"]
