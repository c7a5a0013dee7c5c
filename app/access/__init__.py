"""Access control: API keys and rate limits."""

from .keys import Keys, add_key
from .rate_limit import Quota, RateLimit

__all__ = ["Keys", "Quota", "RateLimit", "add_key"]
