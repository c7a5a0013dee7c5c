"""Who sends a request, and what they may do."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

Scope = Literal["predict", "jobs", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)


@dataclass(frozen=True, slots=True)
class Identity:
    """The owner of an API key, or the subject of a token, under a name that no other has."""

    name: str
    scopes: frozenset[Scope]
    expires: datetime | None = None
    is_token: bool = False


@dataclass(frozen=True, slots=True)
class TokenRules:
    """What a token must say. `algorithms` are those that may sign it; `none` is never among them."""

    issuer: str
    audiences: Sequence[str]
    algorithms: Sequence[str] = ("RS256", "ES256")
    leeway_s: float = 30.0
    scopes_claim: str = "scope"


class Refused(Exception):
    """A key or token that is not valid, or for something else. `name` is that of its owner, if it is known.

    A token that is not valid `can_be_renewed`; its client has to get another one.
    """

    def __init__(self, reason: str, *, name: str | None = None, can_be_renewed: bool = False) -> None:
        super().__init__(reason)
        self.name = name
        self.can_be_renewed = can_be_renewed


class Unavailable(Exception):
    """Whether a token is valid cannot be said at the moment."""
