"""The settings of API keys, and of tokens from an identity provider: a part of `Settings`."""

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings

from .setting_types import Algorithms, JwksSource, Names


class IdentitySettings(BaseSettings):
    """Whose API keys and tokens (JWT) are accepted, and what tokens must say."""

    api_keys_file: Path | None = Field(
        None, description="file of API keys, written by `rt-sentiment key`; without one, no key is needed"
    )
    api_keys_for_all: bool = Field(
        False, description="with API keys: require one for /info, /metrics and /docs, too; probes never need one"
    )
    jwt_jwks: JwksSource = Field(
        "",
        description="file or https address of the public keys (JWKS) of an identity provider, whose tokens are "
        "accepted as API keys are; empty means none",
    )
    jwt_issuer: str = Field("", description="issuer that a token must have (claim iss); needed with SENTIMENT_JWT_JWKS")
    jwt_audience: Names = Field(
        (),
        description="audiences, separated by commas, of which a token must have one (claim aud); needed with "
        "SENTIMENT_JWT_JWKS",
    )
    jwt_algorithms: Algorithms = Field(
        ("RS256", "ES256"),
        min_length=1,
        description="algorithms that may sign a token, separated by commas: RS, PS, ES with 256, 384, 512, or EdDSA",
    )
    jwt_leeway_s: float = Field(
        30, ge=0, le=300, description="seconds by which the clock of the identity provider may differ"
    )
    jwt_scopes_claim: str = Field(
        "scope", min_length=1, description="claim with the scopes of a token: a list, or text with spaces in between"
    )

    @property
    def needs_key(self) -> bool:
        """Whether callers need an API key or a token."""
        return self.api_keys_file is not None or bool(self.jwt_jwks)

    @model_validator(mode="after")
    def _identified(self) -> Self:
        if self.jwt_jwks and not (self.jwt_issuer and self.jwt_audience):
            raise ValueError(
                "JWT_JWKS needs JWT_ISSUER and JWT_AUDIENCE; otherwise, tokens for other services would be accepted"
            )
        if self.api_keys_for_all and not self.needs_key:
            raise ValueError("API_KEYS_FOR_ALL needs API_KEYS_FILE or JWT_JWKS")
        return self
