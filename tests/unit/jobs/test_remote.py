"""Sources on other machines: what is read, and what is refused."""

import http.server
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from pydantic import ValidationError

from app.config import Settings
from app.errors import InvalidInput, TableError
from app.jobs import download as download_module
from app.jobs.download import _is_public, download
from app.jobs.sources import check_url, open_url

ALLOWED = ["s3://bucket/in?region=eu-west-1", "https://files.example/data/", "gs://other"]


@pytest.mark.parametrize(
    "url", ["s3://bucket/in/a.csv", "s3://bucket/in/b/c.csv", "https://files.example/data/a.csv", "gs://other/a"]
)
def test_what_lies_below_a_place_is_allowed(url: str) -> None:
    check_url(url, ALLOWED)


@pytest.mark.parametrize(
    "url",
    [
        "s3://bucket/other/a.csv",
        "s3://bucket/in-other/a.csv",
        "s3://bucket/in/../other/a.csv",
        "s3://bucket/in/%2e%2e/other/a.csv",
        "s3://bucket/in/a.csv?endpoint_override=evil.example",
        "s3://key:secret@bucket/in/a.csv",
        "s3://bucket/in",
        "s3://bucket2/in/a.csv",
        "https://files.example/a.csv",
        "https://files.example.evil.example/data/a.csv",
        "https://files.example@evil.example/data/a.csv",
        "https://evil.example/data/a.csv",
        "https://files.example/data/..\\a.csv",
        "https://files.example/data/a b\n.csv",
        "http://files.example/data/a.csv",
        "https://files.example/data/a.csv#x",
        "gs://other",
    ],
)
def test_everything_else_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput):
        check_url(url, ALLOWED)


def test_a_bucket_is_read_through_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a folder in the place of the bucket: no bucket can be had here."""
    from pyarrow import fs

    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.csv").write_text("text\n")
    seen: list[str] = []

    class Files:
        @staticmethod
        def from_uri(uri: str) -> tuple[Any, str]:
            seen.append(uri)
            return fs.LocalFileSystem(), str(tmp_path)

    monkeypatch.setattr(fs, "FileSystem", Files)
    with open_url("s3://bucket/in/sub/a.csv", ALLOWED) as stream:
        assert stream.read() == b"text\n"
    assert seen == ["s3://bucket/in?region=eu-west-1"]  # the options of the settings, not of the caller


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:4700::1111", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("169.254.169.254", False),
        ("192.168.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("::ffff:127.0.0.1", False),
        ("fd00::1", False),
        ("::10.1.2.3", False),
        ("64:ff9b::10.1.2.3", False),
        ("64:ff9b::93.184.216.34", True),
        ("2002:a01:203::1", False),
    ],
)
def test_only_public_addresses_are_public(address: str, public: bool) -> None:
    assert _is_public(address) == public


def test_a_name_with_a_private_address_is_refused() -> None:
    with pytest.raises(InvalidInput, match="private address"):
        next(download("https://localhost/a.csv", 100))


class Site(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/file")
            self.end_headers()
            return
        if self.path not in ("/file", "/cut", "/a%20b%C3%A9/c%20d"):
            self.send_error(503 if self.path == "/busy" else 404)
            return
        self.send_response(200)
        self.send_header("Content-Length", "20" if self.path == "/cut" else "10")
        self.end_headers()
        self.wfile.write(b"text\ngood\n")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """A web site with a certificate, of which the address counts as public."""
    authority = trustme.CA()
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server_context)
    client_context = ssl.create_default_context()
    authority.configure_trust(client_context)
    with pytest.MonkeyPatch.context() as patch, http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        server.socket = server_context.wrap_socket(server.socket, server_side=True)
        patch.setattr(download_module.ssl, "create_default_context", lambda: client_context)
        patch.setattr(download_module, "_is_public", lambda _: True)
        patch.setattr(
            download_module.socket,
            "getaddrinfo",
            lambda _host, port, *_, **__: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))],
        )
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"https://localhost:{server.server_address[1]}"
        server.shutdown()


def fetch(url: str, max_bytes: int = 100) -> bytes:
    return b"".join(download(url, max_bytes))


def test_a_file_of_a_site_is_read(site: str) -> None:
    assert fetch(f"{site}/file") == b"text\ngood\n"


def test_a_path_may_be_written_as_people_do(site: str) -> None:
    assert fetch(f"{site}/a bé/c%20d") == b"text\ngood\n"


@pytest.mark.parametrize(
    ("path", "max_bytes", "error"),
    [
        ("/moved", 100, InvalidInput),
        ("/nothing", 100, TableError),
        ("/file", 9, InvalidInput),
        ("/cut", 100, OSError),
        ("/busy", 100, OSError),
    ],
)
def test_what_a_site_answers_otherwise_is_an_error(
    site: str, path: str, max_bytes: int, error: type[Exception]
) -> None:
    with pytest.raises(error):
        fetch(site + path, max_bytes)


def test_a_site_with_a_wrong_certificate_is_refused(site: str) -> None:
    with pytest.raises(ssl.SSLError):
        fetch(site.replace("localhost", "other.example") + "/file")


@pytest.mark.parametrize("place", ["/data", "http://host/x", "file://host/x", "s3://", "file:///a,what"])
def test_a_place_that_is_none_is_refused_at_the_start(place: str) -> None:
    with pytest.raises(ValidationError):
        Settings(job_sources=place)  # type: ignore[arg-type]
