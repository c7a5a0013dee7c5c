"""What clients show to be let in: API keys, and tokens of an identity provider. Both lead to an `Identity`."""

from typing import TYPE_CHECKING

from ..errors import KeysError
from .identity import Identity, Refused, Scope, TokenRules
from .keys import Keys

if TYPE_CHECKING:
    from .tokens import Tokens


class Credentials:
    """Accepts API keys, tokens, or both."""

    def __init__(self, keys: Keys | None, tokens: "Tokens | None" = None) -> None:
        self.keys = keys
        self.tokens = tokens

    @property
    def kinds(self) -> str:
        """What clients need, in words."""
        if self.keys is None:
            return "a token"
        return "an API key or a token" if self.tokens else "an API key"

    def check(self, presented: str, scope: Scope | None) -> Identity:
        """Return whose key or token this is, if it has a scope; with None, any will do.

        Never blocks. Raises `Refused`, and `Unavailable` as `Tokens.find` does.
        """
        identity = self._find(presented)
        if scope and scope not in identity.scopes:
            what = "token" if identity.is_token else "API key"
            raise Refused(f"this {what} does not have the scope {scope}", name=identity.name)
        return identity

    def _find(self, presented: str) -> Identity:
        if self.tokens and (self.keys is None or presented.count(".") == 2):  # keys have no dots
            return self.tokens.find(presented)
        key = self.keys.find(presented) if self.keys else None
        if key is None:
            raise Refused("this API key is not valid")
        if key.has_expired():
            raise Refused("this API key has expired", name=key.name)
        return Identity(key.name, key.scopes, key.expires)


def read_tokens(source: str, rules: TokenRules) -> "Tokens":
    """Return what verifies tokens, with keys from a file or an address. Raises `KeysError` as `Tokens` does.

    Also raises it if the packages of the extra `jwt` are not installed.
    """
    try:
        from .tokens import Tokens
    except ModuleNotFoundError as error:
        raise KeysError(f"{error.name} is not installed: pip install 'rt-sentiment[jwt]'") from None
    return Tokens(source, rules)
