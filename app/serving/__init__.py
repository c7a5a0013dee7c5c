"""From texts to predictions: service, cache, lifecycle, model loading. Knows nothing about HTTP."""

from ..inference import GoldenResult
from ..types import Answer
from .canary import CanaryLimits
from .drift import Drift
from .engine import Engine, ServingLimits
from .explain import MAX_CHARS as MAX_EXPLAINED_CHARS
from .explain import cost_of, weigh_words
from .feedback import Feedback, FeedbackOutcome
from .follower import Follower, Source
from .lifecycle import Lifecycle
from .loader import Loader
from .pending import Pending
from .query import Query
from .registry import Registry, ServedModel
from .service import Service
from .shared import RedisStore, SharedCache, SharedCacheOptions
from .version import Version

__all__ = [
    "MAX_EXPLAINED_CHARS",
    "Answer",
    "CanaryLimits",
    "Drift",
    "Engine",
    "Feedback",
    "FeedbackOutcome",
    "Follower",
    "GoldenResult",
    "Lifecycle",
    "Loader",
    "Pending",
    "Query",
    "RedisStore",
    "Registry",
    "ServedModel",
    "Service",
    "ServingLimits",
    "SharedCache",
    "SharedCacheOptions",
    "Source",
    "Version",
    "cost_of",
    "weigh_words",
]
