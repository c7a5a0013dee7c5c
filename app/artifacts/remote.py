"""Reads the files of an artifact from an address: a web site, or whatever fsspec opens."""

import http.client
import urllib.error
import urllib.request
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any, Protocol
from urllib.parse import quote, urlsplit

from ..errors import ArtifactError

_PIECE_BYTES = 1024**2
_BLOCK_BYTES = 4 * 1024**2  # that a bucket's file system reads ahead; the default of some is 50 MiB
_TIMEOUT_S = 30.0
# Packages that a file system needs, by the scheme of its addresses.
_PACKAGES = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "az": "adlfs",
}
_MISSING = (401, 403, 404, 410)  # a bucket that nobody may list answers 403 for a file that does not exist


class MissingFile(ArtifactError):
    """The address has no such file, or it may not be read."""


class RemoteFolder(Protocol):
    """A folder at an address."""

    name: str  # the address without anything secret, for messages

    def read(self, name: str) -> Iterator[bytes]:
        """Yield the bytes of a file below the folder. Raises `MissingFile`, or `ArtifactError` for any other reason."""
        ...


def open_folder(address: str, *, pinned: bool = False) -> RemoteFolder:
    """Open the folder at an address. Nothing is read yet.

    `pinned` means that the sha256 of its manifest is known, so that nobody on the way can replace it. Raises
    `ArtifactError` if the address cannot be used, and says which package is missing.
    """
    scheme, separator, _ = address.partition("://")
    if not separator or not scheme.isascii():
        raise ArtifactError(f"{address!r} is not an address; write s3://bucket/folder, https://host/folder or the like")
    if scheme in ("http", "https"):
        return _WebFolder(address, pinned=pinned)
    return _FsspecFolder(address)


class _WebFolder:
    """A folder of a web site. The standard library reads it, because fsspec would need aiohttp, which serving lacks."""

    def __init__(self, address: str, *, pinned: bool) -> None:
        try:
            parts = urlsplit(address)
            host, _ = parts.hostname or "", parts.port
        except ValueError:
            raise ArtifactError("the address of the artifact is not a valid URL") from None
        self.name = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"
        if not host or "@" in parts.netloc or parts.query or parts.fragment:
            raise ArtifactError(f"{self.name}: an address of a web site has neither user nor options; use a bucket")
        if parts.scheme == "http" and not pinned and not _is_local(host):
            raise ArtifactError(f"{self.name}: over http://, state the digest of the artifact, or use https://")
        path = quote(parts.path.rstrip("/"), safe="%/:!$&'()*+,;=~")  # people write spaces and letters as they are
        self._base = f"{parts.scheme}://{parts.netloc}{path}"
        self._opener = urllib.request.build_opener(_Redirects)

    def read(self, name: str) -> Iterator[bytes]:
        place = f"{self.name}/{name}"
        try:
            with self._opener.open(f"{self._base}/{quote(name)}", timeout=_TIMEOUT_S) as response:
                while piece := response.read(_PIECE_BYTES):
                    yield piece
        except urllib.error.HTTPError as error:
            error.close()
            kind = MissingFile if error.code in _MISSING else ArtifactError
            raise kind(f"{place}: the server answered {error.code}") from None
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise ArtifactError(f"{place} cannot be read: {getattr(reason, 'strerror', None) or reason}") from error


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but not from HTTPS to anything else."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:  # noqa: PLR0917 - the signature of the base
        if urlsplit(req.full_url).scheme == "https" and urlsplit(newurl).scheme != "https":
            raise urllib.error.URLError("it redirects from https:// to an address that is not encrypted")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _FsspecFolder:
    """A folder that fsspec opens, with the options of the environment: credentials, regions, other servers."""

    def __init__(self, address: str) -> None:
        from fsspec.core import url_to_fs  # takes a tenth of a second, and few processes need it

        scheme, _, rest = address.partition("://")
        self.name = f"{scheme}://{rest.rpartition('@')[2]}".rstrip("/")
        if "::" in address:
            raise ArtifactError(f"{self.name}: write a plain address, without ::")
        try:
            self._files, path = url_to_fs(address)
        except ImportError:
            package = _PACKAGES.get(scheme)
            hint = f"pip install {package}" if package else "install the file system that fsspec names for it"
            raise ArtifactError(f"{self.name}: to read {scheme}://, {hint}") from None
        except Exception as error:  # each file system raises its own types
            raise ArtifactError(f"{self.name} cannot be opened: {error}") from error
        self._files.invalidate_cache()  # what is at the address may have changed since it was last opened
        self._path = str(path).rstrip("/")

    def read(self, name: str) -> Iterator[bytes]:
        place = f"{self.name}/{name}"
        try:
            with self._files.open(f"{self._path}/{name}", "rb", block_size=_BLOCK_BYTES) as stream:
                while piece := stream.read(_PIECE_BYTES):
                    yield piece
        except (FileNotFoundError, PermissionError) as error:
            raise MissingFile(f"{place}: {error.strerror or 'there is no such file, or it may not be read'}") from None
        except Exception as error:  # each file system raises its own types
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise ArtifactError(f"{place} cannot be read: {reason}") from error


def _is_local(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
