"""Changes the file of API keys, which other processes may read and change at the same time."""

import fcntl
import hashlib
import os
import re
import secrets
import stat
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml

from ..errors import KeysError
from .identity import Scope
from .keys import NAME, NAME_RULE, Key, read_keys

_PREFIX = "rts_"  # lets secret scanners recognise a leaked key
_PERIOD = re.compile(r"([0-9]{1,5})([dh])")


def add_key(file: Path, name: str, *, expires: datetime | None = None, scopes: Collection[Scope] = ()) -> str:
    """Create a key for `name`, append its hash to `file` (created if missing), and return the key.

    Without scopes, it has those of a key that states none. Raises `KeysError` if the file already has a key of that
    name or cannot be changed.
    """
    if not NAME.fullmatch(name):
        raise KeysError(f"{name!r} is not a valid name for a key: {NAME_RULE}")
    key = _PREFIX + secrets.token_urlsafe(32)
    line = _line(name, hashlib.sha256(key.encode()).hexdigest(), expires, scopes)
    try:
        # Of a symlink, the file that it leads to is replaced, and not the link.
        target = Path(os.path.realpath(file))
        with _locked(target.parent):
            content = b""
            if target.exists():
                if not target.is_file():
                    raise KeysError(f"{file}: not a regular file")
                if name in [each.name for each in read_keys(target)]:
                    raise KeysError(f"{file} already has a key for {name}; remove that first: rt-sentiment keys remove")
                content = target.read_bytes()
            if content and not content.endswith(b"\n"):
                content += b"\n"
            _replace(target, content + line.encode())
    except OSError as error:
        raise KeysError(f"{file}: {error.strerror}") from None
    return key


def remove_key(file: Path, name: str) -> None:
    """Remove the key of `name`, and leave all other lines as they are.

    Raises `KeysError` if the file has no such key or cannot be changed, or if its lines cannot be told apart.
    """
    try:
        target = Path(os.path.realpath(file))
        with _locked(target.parent):
            rest = [key for key in read_keys(target) if key.name != name]
            text = target.read_text(encoding="utf-8")
            lines = text.splitlines(keepends=True)
            for first, end in _lines_of(text, name):
                del lines[first:end]
                break
            else:
                raise KeysError(f"{file} has no key for {name}")
            content = "".join(lines).encode()
            _replace(target, content, lambda changed: _check(changed, rest, file, name))
    except OSError as error:
        raise KeysError(f"{file}: {error.strerror}") from None


def _lines_of(text: str, name: str) -> Iterator[tuple[int, int]]:
    """Yield the lines, from the first to the one after the last, of the key with this name."""
    root = yaml.compose(text, yaml.SafeLoader)
    for key, value in root.value if isinstance(root, yaml.MappingNode) else ():
        if key.value == name:
            yield key.start_mark.line, value.end_mark.line + (value.end_mark.column > 0)


def _check(changed: Path, rest: list[Key], file: Path, name: str) -> None:
    """Raise an error if other keys are on the lines of the one that was removed."""
    try:
        if read_keys(changed) == rest:
            return
    except KeysError:
        pass
    raise KeysError(f"{file}: the key of {name} has no lines of its own; remove it with an editor")


def parse_expiry(value: str) -> datetime:
    """Return the time that `90d`, `12h` or a date of ISO 8601 means; a date begins at midnight UTC.

    Raises `ValueError` if it is none of these or is over.
    """
    now = datetime.now(UTC)
    if match := _PERIOD.fullmatch(value):
        time = now + timedelta(**{"days" if match[2] == "d" else "hours": int(match[1])})
    else:
        time = datetime.fromisoformat(value)
        time = time if time.tzinfo else time.replace(tzinfo=UTC)
    if time <= now:
        raise ValueError("the time is over")
    return time


def _line(name: str, digest: str, expires: datetime | None, scopes: Collection[str]) -> str:
    fields = [f"hash: sha256:{digest}"]
    if expires:
        fields.append(f"expires: {expires.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}")
    if scopes:
        fields.append(f"scopes: [{', '.join(scopes)}]")
    # The name is quoted, because YAML reads a bare 12 as a number and a bare no as false.
    return f'"{name}": ' + (f"{{{', '.join(fields)}}}\n" if len(fields) > 1 else f"sha256:{digest}\n")


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Wait for other commands that change a file of `folder`. The lock ends with the process, and leaves no file."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _replace(file: Path, content: bytes, check: Callable[[Path], None] = lambda _: None) -> None:
    """Replace `file` in one step, so that a reader or a power failure sees the old content or the new one.

    `check` may look at the new file before that, and raise.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)  # only its owner can read it
    aside = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            if file.exists():
                _take_owner_and_mode(descriptor, file)
            stream.write(content)
            stream.flush()
            os.fsync(descriptor)
        check(aside)
        aside.replace(file)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _take_owner_and_mode(descriptor: int, file: Path) -> None:
    """Keep the owner of `file`, and its mode unless everyone may read it: a group was allowed on purpose."""
    status, new = file.stat(), os.fstat(descriptor)
    if (status.st_uid, status.st_gid) != (new.st_uid, new.st_gid):
        os.fchown(descriptor, status.st_uid, status.st_gid)
    mode = stat.S_IMODE(status.st_mode)
    os.fchmod(descriptor, mode & (0o600 if mode & 0o007 else 0o660))
