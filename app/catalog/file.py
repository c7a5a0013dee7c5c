"""Reads and replaces the models file, which servers follow and several people may change at the same time."""

import errno
import fcntl
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from ..errors import ModelsFileError
from .parsing import parse
from .spec import Catalog, VersionSpec

_COMMENT = re.compile(r"(?:^|\s)#")
_MAX_BYTES = 1024 * 1024
_NEW_FILE_MODE = 0o644  # servers run as another user, and the file has no secrets
_MOUNT = "it is mounted by itself; mount the folder that it is in, because a change replaces the file in its folder"
_WHY = {
    errno.ENOENT: "its folder does not exist",
    errno.EACCES: "this user may not write there",
    errno.EPERM: "this user may not write there",
    errno.EROFS: "its file system is mounted read-only",
    errno.EBUSY: _MOUNT,
    errno.EXDEV: _MOUNT,
}


def read(path: Path) -> Catalog:
    """Return what a models file says.

    Raises `ModelsFileError`, which names the file and where possible the line, if it cannot be read or is not valid.
    """
    with _named(path):
        return parse(_text(path))


def locate(path: Path, version: VersionSpec) -> str:
    """Return the source of a version in a form that `open_artifact` or a store takes.

    A relative path begins in the folder of the models file, if there is such a folder, or else in the working
    directory. A bare name that is no folder stays: it may be the name of an embedded model.
    """
    if version.kind != "path":
        return version.source
    written = _expanded(version.source)
    # Of a symlink, first the folder where it is, then the one that it leads to.
    for folder in (path.absolute().parent, Path(os.path.realpath(path)).parent):
        if _is_folder(folder / written):
            return os.path.normpath(folder / written)
    is_bare = version.source == written.name and version.source[0] != "~" and not _is_folder(written)
    # An absolute path is never taken for the name of a model on the hub.
    return version.source if is_bare else str(written.absolute())


def _expanded(source: str) -> Path:
    try:
        return Path(source).expanduser()
    except RuntimeError:  # ~somebody who does not exist
        return Path(source)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # such as a name that is too long
        return False


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Wait for other commands that change this file: read and write it within this context.

    The lock is on a file beside it, which stays, and ends with the process. Raises `ModelsFileError` if the file cannot
    be changed.
    """
    target = _target(path)
    try:
        descriptor = os.open(target.with_name(f".{target.name}.lock"), os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise _refused(path, error) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def write(path: Path, catalog: Catalog) -> None:
    """Replace the models file in one step: a reader or a power failure sees the old content or the new one.

    The comments before the first line stay, others do not. So do owner and mode. Of a symlink, the file that it leads
    to is replaced. Raises `ModelsFileError` if that is not possible.
    """
    target = _target(path)
    with _named(path):
        content = (_head(target) + render(catalog)).encode()
    try:
        _replace(target, content)
    except OSError as error:
        raise _refused(path, error) from None


def loses_comments(path: Path) -> bool:
    """Return whether the file seems to have comments that `write` does not keep."""
    if not path.exists():
        return False
    with _named(path):
        return bool(_COMMENT.search(_text(path), len(_head(path))))


def render(catalog: Catalog) -> str:
    """Return the YAML of a models file."""
    models = {model.name: {"versions": [_fields(version) for version in model.versions]} for model in catalog.models}
    return yaml.dump(
        {"models": models}, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=None, width=2**20
    )


class _Dumper(yaml.SafeDumper):
    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002 - its signature
        """Indent the entries of lists, too."""
        super().increase_indent(flow, indentless=False)


def _fields(version: VersionSpec) -> dict[str, Any]:
    fields: dict[str, Any] = {version.kind: version.source}
    weight = version.weight
    fields |= {"shadow": True} if version.shadow else {"weight": int(weight) if weight == int(weight) else weight}
    return fields | ({"digest": version.digest} if version.digest else {})


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Begin an error with the file and the line."""
    try:
        yield
    except ModelsFileError as error:
        place = f"{path}, line {error.line}" if error.line else f"{path}"
        raise ModelsFileError(f"{place}: {error}", error.line) from error.__cause__


def _text(path: Path) -> str:
    try:
        # Not after opening: that of a named pipe would wait.
        if not stat.S_ISREG(path.stat().st_mode):
            raise ModelsFileError("not a regular file")
        with path.open("rb") as stream:
            content = stream.read(_MAX_BYTES + 1)
    except OSError as error:
        raise ModelsFileError(f"{error.strerror}") from error
    if len(content) > _MAX_BYTES:
        raise ModelsFileError("it is larger than 1 MiB, so it is not a models file")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ModelsFileError("not valid UTF-8", content.count(b"\n", 0, error.start) + 1) from None


def _head(target: Path) -> str:
    """Return the comments with which the file begins."""
    if not target.exists():
        return ""
    lines = []
    for line in _text(target).splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            break
        lines.append(line.rstrip() + "\n")
    return "".join(lines)


def _target(path: Path) -> Path:
    """Return the file that a change replaces; raise `ModelsFileError` if it is clear that it cannot."""
    if (path.absolute().parent / "..data").is_symlink():
        raise ModelsFileError(
            f"{path} comes from a ConfigMap or a Secret of Kubernetes and cannot be changed here; change that one "
            "instead, for example with `kubectl edit configmap`"
        )
    target = Path(os.path.realpath(path))
    if target.exists():
        if not target.is_file():
            raise ModelsFileError(f"{path}: not a regular file")
        # Replacing a file needs no permission for the file itself, but its owner has forbidden changes.
        if not (target.stat().st_mode & 0o222 and os.access(target, os.W_OK)):
            raise ModelsFileError(f"{path} is read-only; allow changes with `chmod u+w`, or as another user")
    return target


def _refused(path: Path, error: OSError) -> ModelsFileError:
    why = _WHY.get(error.errno or 0) or error.strerror
    return ModelsFileError(f"{path} cannot be changed: {why}")


def _replace(target: Path, content: bytes) -> None:
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    aside = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            _set_owner_and_mode(descriptor, target)
            stream.write(content)
            stream.flush()
            os.fsync(descriptor)
        aside.replace(target)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _set_owner_and_mode(descriptor: int, target: Path) -> None:
    if not target.exists():
        os.fchmod(descriptor, _NEW_FILE_MODE)
        return
    before, new = target.stat(), os.fstat(descriptor)
    if (before.st_uid, before.st_gid) != (new.st_uid, new.st_gid):
        os.fchown(descriptor, before.st_uid, before.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(before.st_mode))
