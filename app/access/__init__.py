"""Access control: API keys, tokens and rate limits."""

from .credentials import Credentials, read_tokens
from .identity import SCOPES, Identity, Refused, Scope, TokenRules, Unavailable
from .key_file import add_key, parse_expiry, remove_key
from .keys import Key, Keys, read_keys
from .rate_limit import Quota, RateLimit

__all__ = [
    "SCOPES",
    "Credentials",
    "Identity",
    "Key",
    "Keys",
    "Quota",
    "RateLimit",
    "Refused",
    "Scope",
    "TokenRules",
    "Unavailable",
    "add_key",
    "parse_expiry",
    "read_keys",
    "read_tokens",
    "remove_key",
]
