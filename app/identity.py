"""From the settings to whose API keys and tokens are accepted."""

from .access import Credentials, Keys, TokenRules, read_tokens
from .config import PREFIX, Settings
from .errors import KeysError


def open_credentials(settings: Settings) -> Credentials | None:
    """Read the API keys and the keys of the identity provider; None if callers need neither. Raises `KeysError`."""
    try:
        name = "API_KEYS_FILE"
        keys = Keys(settings.api_keys_file) if settings.api_keys_file else None
        name = "JWT_JWKS"
        tokens = read_tokens(settings.jwt_jwks, token_rules(settings)) if settings.jwt_jwks else None
    except KeysError as error:
        raise KeysError(f"{PREFIX}{name}: {error}") from None
    return Credentials(keys, tokens) if keys or tokens else None


def token_rules(settings: Settings) -> TokenRules:
    """Return what a token must say."""
    return TokenRules(
        settings.jwt_issuer,
        settings.jwt_audience,
        settings.jwt_algorithms,
        settings.jwt_leeway_s,
        settings.jwt_scopes_claim,
    )
