"""API keys: a YAML file with one line per key. Only the client has the key itself.

    "web": sha256:…
    "batch": {hash: sha256:…, expires: 2027-01-31T00:00:00Z, scopes: [predict, jobs]}

A key is 256 random bits, so a plain SHA-256 of it reveals nothing. Salts and slow hashes are for passwords.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import yaml

from ..errors import KeysError
from .identity import SCOPES, Scope

_DEFAULT_SCOPES: frozenset[Scope] = frozenset({"predict"})  # of a key that states none

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
NAME_RULE = "use up to 64 letters, digits, '.', '_' and '-'"
_HASH = re.compile(r"sha256:([0-9a-f]{64})")
_FIELDS = {"hash", "expires", "scopes"}


@dataclass(frozen=True, slots=True)
class Key:
    """What the file says about a key: who has it, what it is for, and until when."""

    name: str
    digest: bytes
    scopes: frozenset[Scope] = _DEFAULT_SCOPES
    expires: datetime | None = None

    def has_expired(self) -> bool:
        return self.expires is not None and self.expires <= datetime.now(UTC)


class Keys:
    """The keys of a file, as of its last successful read."""

    def __init__(self, file: Path) -> None:
        """Read `file`; raise `KeysError` if it cannot be read."""
        self._file = file
        self._version = _version(file)
        self._keys = read_keys(file)

    @property
    def names(self) -> list[str]:
        """Names of the keys' owners."""
        return [key.name for key in self._keys]

    def find(self, key: str) -> Key | None:
        """Return what the file says about `key`, which may have expired; None if it is not there.

        Takes the same time for every wrong key.
        """
        presented = hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
        match = None
        for stored in self._keys:
            if hmac.compare_digest(presented, stored.digest):
                match = stored
        return match

    def refresh(self) -> bool:
        """Read the file again if it has changed; return whether it had.

        Raises `KeysError` if the changed file cannot be read. The keys then stay as they are until its next change, or
        until it can be read: there may only be too few file descriptors.
        """
        version = _version(self._file)
        if version == self._version:
            return False
        try:
            self._keys = read_keys(self._file)
        except KeysError as error:
            if not isinstance(error.__cause__, OSError) or isinstance(error.__cause__, FileNotFoundError):
                self._version = version
            raise
        self._version = version
        return True


def _version(file: Path) -> tuple[int, int, int] | None:
    """Return a value that differs after every change, even if Kubernetes replaces the file by swapping a symlink."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size


def read_keys(file: Path) -> list[Key]:
    """Read the keys of a file; raise `KeysError`, which names what is wrong without quoting it."""
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise KeysError(f"{file}: {error.strerror}") from error
    except (yaml.YAMLError, ValueError, RecursionError):  # ValueError: invalid UTF-8 or date; RecursionError: nesting
        raise KeysError(f"{file}: not YAML") from None  # without the parser's message, which quotes the file
    if content is None:  # an empty file: the last key has been revoked
        return []
    if not isinstance(content, Mapping):
        raise KeysError(f"{file}: expected a line `name: sha256:…` for each key")
    return [_key(file, name, value) for name, value in content.items()]


def _key(file: Path, name: object, value: object) -> Key:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise KeysError(f"{file}: a name is not valid: {NAME_RULE}")
    stated = value if isinstance(value, Mapping) else {"hash": value}
    if not stated.keys() <= _FIELDS:
        raise KeysError(f"{file}: {name} has a field that is none of hash, expires and scopes")
    hashed = stated.get("hash")
    match = _HASH.fullmatch(hashed) if isinstance(hashed, str) else None
    if match is None:
        raise KeysError(f"{file}: {name} needs `sha256:` and 64 hexadecimal digits")
    scopes = stated.get("scopes", [*_DEFAULT_SCOPES])
    if not isinstance(scopes, list) or not scopes or not all(scope in SCOPES for scope in scopes):
        raise KeysError(f"{file}: the scopes of {name} must be a list of {', '.join(SCOPES)}")
    expires = _utc(stated["expires"]) if "expires" in stated else None
    if "expires" in stated and expires is None:
        raise KeysError(f"{file}: {name} must expire at a time such as 2027-01-31T00:00:00Z")
    return Key(name, bytes.fromhex(match[1]), frozenset(scopes), expires)


def _utc(value: object) -> datetime | None:
    """Return a time of YAML or ISO 8601, which is in UTC unless it says otherwise; None if it is not a time."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    if not isinstance(value, datetime):
        return None
    return value if value.tzinfo else value.replace(tzinfo=UTC)
