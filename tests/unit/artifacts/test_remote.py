"""Addresses: which are accepted, and what is said about those that are not."""

import socket
import urllib.request
from email.message import Message
from pathlib import Path

import pytest

from app.artifacts.remote import MissingFile, _Redirects, open_folder
from app.errors import ArtifactError
from tests.support.artifacts import web_server


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("models/mine", "'models/mine' is not an address; write s3://bucket/folder"),
        ("http://models.example/a", "http://models.example/a: over http://, state the digest of the artifact, or use"),
        ("https://me:secret@models.example/a", "https://models.example/a: an address of a web site has neither user"),
        ("https://models.example/a?token=secret", "https://models.example/a: an address of a web site has neither"),
        ("https://models.example:99999/a", "the address of the artifact is not a valid URL"),
        ("https:///a", "an address of a web site has neither"),
        ("s3://bucket/model", "s3://bucket/model: to read s3://, pip install s3fs"),
        ("gs://bucket/model", "gs://bucket/model: to read gs://, pip install gcsfs"),
        ("abfs://bucket/model", "abfs://bucket/model: to read abfs://, pip install adlfs"),
        ("smb://host/model", "smb://host/model: to read smb://, install the file system that fsspec names for it"),
        ("nothing://model", "nothing://model cannot be opened: Protocol not known: nothing"),
        ("simplecache::file:///tmp", "write a plain address, without ::"),
    ],
)
def test_an_address_that_cannot_be_used_is_explained(address: str, message: str) -> None:
    with pytest.raises(ArtifactError, match=message) as caught:
        open_folder(address)
    assert "secret" not in str(caught.value)


def test_http_is_enough_where_the_manifest_is_pinned() -> None:
    assert open_folder("http://models.example/a", pinned=True).name == "http://models.example/a"
    assert open_folder("http://localhost:1/a").name == "http://localhost:1/a"


def test_a_name_with_other_characters_is_encoded(tmp_path: Path) -> None:
    (tmp_path / "größe 100%.json").write_text("{}")
    with web_server(tmp_path) as (address, _):
        assert b"".join(open_folder(address).read("größe 100%.json")) == b"{}"


def test_a_file_that_is_missing_differs_from_a_server_that_fails(tmp_path: Path) -> None:
    with web_server(tmp_path) as (address, _):
        with pytest.raises(MissingFile, match=r"/a\.json: the server answered 404"):
            list(open_folder(address).read("a.json"))
        with pytest.raises(ArtifactError, match=r"/broken/a\.json: the server answered 503") as caught:
            list(open_folder(f"{address}/broken").read("a.json"))
        assert not isinstance(caught.value, MissingFile)
    with pytest.raises(MissingFile, match=r"a\.json: No such file or directory"):
        list(open_folder(f"file://{tmp_path}").read("a.json"))
    with pytest.raises(MissingFile, match=r"a\.json: there is no such file, or it may not be read"):
        list(open_folder("memory://nowhere").read("a.json"))


def test_a_server_that_cannot_be_reached_is_named() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
    with pytest.raises(ArtifactError, match=f"{address}/a.json cannot be read: Connection refused"):
        list(open_folder(address).read("a.json"))


def test_a_file_system_that_fails_is_named(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    with pytest.raises(ArtifactError, match="/sub cannot be read: Is a directory"):
        list(open_folder(f"file://{tmp_path}").read("sub"))


@pytest.mark.parametrize("target", ["http://models.example/a", "https://models.example/a"])
def test_a_redirect_does_not_leave_https(target: str) -> None:
    request = urllib.request.Request("https://models.example/b")
    args = (request, None, 302, "Found", Message(), target)
    if target.startswith("https:"):
        assert _Redirects().redirect_request(*args).full_url == target
    else:
        with pytest.raises(OSError, match="it redirects from https:// to an address that is not encrypted"):
            _Redirects().redirect_request(*args)
