"""API keys: a YAML file with one line `name: sha256:…` per key. Only the client has the key itself.

A key is 256 random bits, so a plain SHA-256 of it reveals nothing. Salts and slow hashes are for passwords.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from pathlib import Path

import yaml

from ..errors import KeysError

_PREFIX = "rts_"  # lets secret scanners recognise a leaked key
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_NAME_RULE = "use up to 64 letters, digits, '.', '_' and '-'"
_HASH = re.compile(r"sha256:([0-9a-f]{64})")


class Keys:
    """The keys of a file, as of its last successful read."""

    def __init__(self, file: Path) -> None:
        """Read `file`; raise `KeysError` if it cannot be read."""
        self._file = file
        self._version = _version(file)
        self._hashes = _read(file)

    @property
    def names(self) -> list[str]:
        """Names of the keys' owners."""
        return list(self._hashes)

    def holder(self, key: str) -> str | None:
        """Return the owner of `key`, or None. Takes the same time for every wrong key."""
        presented = hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
        holder = None
        for name, stored in self._hashes.items():
            if hmac.compare_digest(presented, stored):
                holder = name
        return holder

    def refresh(self) -> bool:
        """Read the file again if it has changed; return whether it had.

        Raises `KeysError` if the changed file cannot be read. The keys then stay as they are until its next change.
        """
        version = _version(self._file)
        if version == self._version:
            return False
        self._version = version
        self._hashes = _read(self._file)
        return True


def add_key(file: Path, name: str) -> str:
    """Create a key for `name`, append its hash to `file` (created if missing), and return the key.

    Raises `KeysError` if the file already has a key of that name.
    """
    if not _NAME.fullmatch(name):
        raise KeysError(f"{name!r} is not a valid name for a key: {_NAME_RULE}")
    if file.exists() and name in _read(file):
        raise KeysError(f"{file} already has a key for {name}; remove its line first")
    key = _PREFIX + secrets.token_urlsafe(32)
    # Quoted, because YAML reads a bare 12 as a number and a bare no as false.
    line = f'"{name}": sha256:{hashlib.sha256(key.encode()).hexdigest()}\n'
    try:
        content = file.read_text(encoding="utf-8") if file.exists() else ""
        if content and not content.endswith("\n"):
            content += "\n"
        file.write_text(content + line, encoding="utf-8")
    except OSError as error:
        raise KeysError(f"{file}: {error.strerror}") from None
    return key


def _version(file: Path) -> tuple[int, int, int] | None:
    """Return a value that differs after every change, even if Kubernetes replaces the file by swapping a symlink."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size


def _read(file: Path) -> dict[str, bytes]:
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise KeysError(f"{file}: {error.strerror}") from None
    except (yaml.YAMLError, ValueError, RecursionError):  # ValueError: invalid UTF-8 or date; RecursionError: nesting
        raise KeysError(f"{file}: not YAML") from None  # without the parser's message, which quotes the file
    if content is None:  # an empty file: the last key has been revoked
        return {}
    if not isinstance(content, Mapping):
        raise KeysError(f"{file}: expected a line `name: sha256:…` for each key")
    return {_checked_name(file, name): _checked_hash(file, name, value) for name, value in content.items()}


def _checked_name(file: Path, name: object) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise KeysError(f"{file}: a name is not valid: {_NAME_RULE}")
    return name


def _checked_hash(file: Path, name: str, value: object) -> bytes:
    match = _HASH.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise KeysError(f"{file}: {name} needs `sha256:` and 64 hexadecimal digits")
    return bytes.fromhex(match[1])
