"""Tokens of an identity provider (JWT), verified with its public keys (JWKS, RFC 7517).

Nothing of a token is trusted, shown or logged before its signature, issuer, audience and time are verified.
"""

import contextlib
import hashlib
import json
import math
import time
import urllib.request
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from http.client import HTTPException
from pathlib import Path
from typing import Any

import jwt
from cachetools import LRUCache

from ..errors import KeysError
from .identity import SCOPES, Identity, Refused, TokenRules, Unavailable

_REFRESH_EVERY_S = 300.0
_SOONEST_S = 10.0  # after the last attempt, for a token with an unknown key
_FETCH_TIMEOUT_S = 10.0
_MAX_JWKS_BYTES = 1024 * 1024
_MAX_SUBJECT_CHARS = 255  # as in OpenID Connect
_REMEMBERED = 4096  # tokens that were valid: most clients send the same one for minutes


class Tokens:
    """Verifies tokens with the keys of `source`, a file or an address.

    `find` never blocks. `refresh` does: it reads the keys again when it is time, and soon after a token came with a key
    that is unknown, because providers change their keys.
    """

    def __init__(self, source: str, rules: TokenRules, clock: Callable[[], float] = time.monotonic) -> None:
        """Read the keys. Raises `KeysError` if a file cannot be used; an address may be available later."""
        self._source = source
        self._rules = rules
        self._clock = clock
        self._is_address = "://" in source
        self._keys: dict[str | None, Any] = {}  # by id
        self._content: bytes | None = None
        self._tried_s = -math.inf
        self._is_wanted = False
        self._valid: LRUCache[bytes, Identity] = LRUCache(_REMEMBERED)
        if not self._is_address:
            self.refresh()

    @property
    def key_ids(self) -> list[str]:
        return [name for name in self._keys if name is not None]

    def refresh(self) -> bool:
        """Read the keys again if it is time; return whether they have changed.

        Raises `KeysError` if that fails. The keys then stay as they are.
        """
        now_s = self._clock()
        waited_s = now_s - self._tried_s
        pause_s = _SOONEST_S if self._is_wanted or not self._keys or not self._is_address else _REFRESH_EVERY_S
        if waited_s < pause_s:
            return False
        self._tried_s, self._is_wanted = now_s, False
        content = self._fetch() if self._is_address else self._read()
        if content == self._content:
            return False
        self._keys = self._parse(content)
        self._content = content
        self._valid = LRUCache(_REMEMBERED)
        return True

    def find(self, token: str) -> Identity:
        """Return the identity in a token. Raises `Refused`, and `Unavailable` while no keys are known."""
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        valid = self._valid  # `refresh` replaces it: what was verified with old keys must not get into the new one
        found = valid.get(digest)
        if found is None:
            found = valid[digest] = self._verify(token)
        if found.expires and datetime.now(UTC).timestamp() >= found.expires.timestamp() + self._rules.leeway_s:
            valid.pop(digest, None)
            raise Refused("this token has expired", can_be_renewed=True)
        return found

    def _verify(self, token: str) -> Identity:
        rules = self._rules
        try:
            claims = jwt.decode(
                token,
                self._key_of(jwt.get_unverified_header(token)),
                algorithms=[*rules.algorithms],
                audience=[*rules.audiences],
                issuer=rules.issuer,
                leeway=rules.leeway_s,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except jwt.ExpiredSignatureError:
            reason = "this token has expired"
        except jwt.ImmatureSignatureError:
            reason = "this token is not valid yet"
        except jwt.InvalidIssuerError:
            reason = "this token is from another issuer"
        except jwt.InvalidAudienceError:
            reason = "this token is for another audience"
        except jwt.MissingRequiredClaimError as error:
            reason = f"this token has no claim {error.claim}"
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            reason = "this token is not valid"
        else:
            return self._identity(claims)
        raise Refused(reason, can_be_renewed=True)

    def _key_of(self, header: Mapping[str, Any]) -> Any:
        if not self._keys:
            self._is_wanted = True
            raise Unavailable("the keys of the identity provider cannot be read at the moment; try again later")
        name = header.get("kid")
        if name is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        if name is None or not isinstance(name, str) or name not in self._keys:
            self._is_wanted = name is not None
            raise Refused("this token was signed with an unknown key", can_be_renewed=True)
        return self._keys[name]

    def _identity(self, claims: Mapping[str, Any]) -> Identity:
        subject, scopes = claims["sub"], claims.get(self._rules.scopes_claim, ())
        if not (isinstance(subject, str) and 0 < len(subject) <= _MAX_SUBJECT_CHARS and subject.isprintable()):
            raise Refused("the subject of this token is not a name", can_be_renewed=True)
        stated = scopes.split() if isinstance(scopes, str) else scopes if isinstance(scopes, list | tuple) else ()
        return Identity(
            # No API key has a name with a colon, so nobody's token can pass for somebody's key.
            name=f"jwt:{subject}",
            scopes=frozenset(scope for scope in SCOPES if scope in stated),
            expires=datetime.fromtimestamp(float(claims["exp"]), UTC),
            is_token=True,
        )

    def _read(self) -> bytes:
        try:
            return Path(self._source).read_bytes()
        except OSError as error:
            raise KeysError(f"{self._source}: {error.strerror}") from None

    def _fetch(self) -> bytes:
        request = urllib.request.Request(self._source, headers={"Accept": "application/json"})  # noqa: S310
        try:
            # The scheme is https, or the host this machine: see `setting_types`.
            with urllib.request.urlopen(request, timeout=_FETCH_TIMEOUT_S) as response:  # noqa: S310  # nosec B310
                content: bytes = response.read(_MAX_JWKS_BYTES + 1)
        except (OSError, HTTPException, ValueError) as error:
            reason = getattr(error, "reason", None) or type(error).__qualname__
            raise KeysError(f"{self._source}: {reason}") from None
        if len(content) > _MAX_JWKS_BYTES:
            raise KeysError(f"{self._source}: larger than {_MAX_JWKS_BYTES} bytes")
        return content

    def _parse(self, content: bytes) -> dict[str | None, Any]:
        """Return the keys that can verify signatures, by their ids. Others are left out, as RFC 7517 says."""
        try:
            entries = json.loads(content)["keys"]
            assert isinstance(entries, list)
        except (ValueError, KeyError, TypeError, AssertionError, RecursionError):
            raise KeysError(f"{self._source}: not a JSON web key set") from None
        keys: dict[str | None, Any] = {}
        for entry in entries:
            # A symmetric key in there would be public.
            if not isinstance(entry, dict) or entry.get("kty") == "oct" or entry.get("use", "sig") != "sig":
                continue
            with contextlib.suppress(jwt.PyJWTError, ValueError, TypeError, KeyError):
                key = jwt.PyJWK(entry)
                # One that states its algorithm verifies no other.
                keys[entry.get("kid")] = key if "alg" in entry else key.key
        if not keys:
            raise KeysError(f"{self._source}: it has no key that can verify a token")
        return keys
