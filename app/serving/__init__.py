"""From texts to predictions: service, cache, lifecycle, loading of the model. Knows nothing of HTTP."""

from ..types import Answer
from .lifecycle import Lifecycle
from .loader import Loader, ServingLimits
from .query import Query
from .service import Pending, Service

__all__ = ["Answer", "Lifecycle", "Loader", "Pending", "Query", "Service", "ServingLimits"]
