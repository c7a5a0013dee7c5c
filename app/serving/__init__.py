"""From texts to predictions: service, cache, lifecycle, model loading. Knows nothing about HTTP."""

from ..types import Answer
from .explain import MAX_CHARS as MAX_EXPLAINED_CHARS
from .explain import cost_of, weigh_words
from .feedback import Feedback, FeedbackOutcome
from .lifecycle import Lifecycle
from .loader import Loader, ServingLimits
from .pending import Pending
from .query import Query
from .service import Service
from .shared import RedisStore, SharedCache, SharedCacheOptions

__all__ = [
    "MAX_EXPLAINED_CHARS",
    "Answer",
    "Feedback",
    "FeedbackOutcome",
    "Lifecycle",
    "Loader",
    "Pending",
    "Query",
    "RedisStore",
    "Service",
    "ServingLimits",
    "SharedCache",
    "SharedCacheOptions",
    "cost_of",
    "weigh_words",
]
