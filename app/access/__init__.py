"""Access control: API keys and rate limits."""

from .key_file import add_key, parse_expiry, remove_key
from .keys import SCOPES, Key, Keys, Scope, read_keys
from .rate_limit import Quota, RateLimit

__all__ = ["SCOPES", "Key", "Keys", "Quota", "RateLimit", "Scope", "add_key", "parse_expiry", "read_keys", "remove_key"]
