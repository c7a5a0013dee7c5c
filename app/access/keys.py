"""API keys: a file of names and hashes, one `name: sha256:…` a line (YAML). The keys themselves are kept by callers.

A key is 256 random bits, so that a plain SHA-256 of it tells nothing: salts and slow hashes are for passwords.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from pathlib import Path

import yaml

from ..errors import KeysError

_BEGINNING = "rts_"  # what scanners for leaked secrets can look for
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_HASH = re.compile(r"sha256:([0-9a-f]{64})")


class Keys:
    """The keys of a file, as it was when it was last read."""

    def __init__(self, file: Path) -> None:
        """Read `file`; raise `KeysError` when that cannot be done."""
        self._file = file
        self._seen = _version(file)
        self._hashes = _read(file)

    @property
    def names(self) -> list[str]:
        """Whom there are keys for."""
        return list(self._hashes)

    def holder(self, key: str) -> str | None:
        """The name of a key, or None. Takes the same time for every key that is wrong."""
        presented = hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
        found = None
        for name, known in self._hashes.items():
            if hmac.compare_digest(presented, known):
                found = name
        return found

    def refresh(self) -> bool:
        """Read the file again if it has changed, and say whether it had.

        Raises `KeysError` when it cannot be read any more; then the keys stay as they were, until it changes again.
        """
        version = _version(self._file)
        if version == self._seen:
            return False
        self._seen = version
        self._hashes = _read(self._file)
        return True


def add_key(file: Path, name: str) -> str:
    """Make a key for `name`, write its hash into `file`, which may not be there yet, and return it.

    Raises `KeysError` when there is one of that name.
    """
    if not _NAME.fullmatch(name):
        raise KeysError(f"{name!r} is no name for a key: letters, digits, '.', '_' and '-', 64 at most")
    if file.exists() and name in _read(file):
        raise KeysError(f"{file} has a key for {name}; remove its line first")
    key = _BEGINNING + secrets.token_urlsafe(32)
    try:
        before = file.read_text(encoding="utf-8") if file.exists() else ""
        if before and not before.endswith("\n"):
            before += "\n"
        line = (
            f'"{name}": sha256:{hashlib.sha256(key.encode()).hexdigest()}\n'  # quoted: to YAML 12 is a number, no false
        )
        file.write_text(before + line, encoding="utf-8")
    except OSError as error:
        raise KeysError(f"{file}: {error.strerror}") from None
    return key


def _version(file: Path) -> tuple[int, int, int] | None:
    """What differs after every change, also of a file that Kubernetes exchanges by a link."""
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
    except (yaml.YAMLError, ValueError, RecursionError):  # not of UTF-8, dates that are none, endless depth
        raise KeysError(f"{file}: not YAML") from None  # the parser's message would quote it
    if content is None:  # the last line has been removed: nobody may call any more
        return {}
    if not isinstance(content, Mapping):
        raise KeysError(f"{file}: expected a line `name: sha256:…` for each key")
    return {_name(file, name): _hash(file, name, value) for name, value in content.items()}


def _name(file: Path, name: object) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise KeysError(f"{file}: a name is letters, digits, '.', '_' and '-', 64 at most")
    return name


def _hash(file: Path, name: str, value: object) -> bytes:
    found = _HASH.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise KeysError(f"{file}: {name} has no hash `sha256:` and 64 hexadecimal digits")
    return bytes.fromhex(found[1])
