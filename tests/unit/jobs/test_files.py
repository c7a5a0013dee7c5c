"""Where rows come from, and where results go."""

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pyarrow.parquet as pq
import pytest

from app.errors import InvalidInput, SetupError
from app.jobs import sources
from app.jobs.sources import check_url, open_url
from app.jobs.store import LocalStore, ObjectStore, Store, open_store


@pytest.fixture(params=["local", "object"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """The contract of a store holds for both kinds; pyarrow treats a folder like a bucket."""
    (tmp_path / "root" / "a").mkdir(parents=True)
    return LocalStore(tmp_path / "root") if request.param == "local" else ObjectStore((tmp_path / "root").as_uri())


def test_what_is_written_can_be_read_replaced_and_deleted(store: Store) -> None:
    for data in (b"first", b"second"):
        store.write("a/one", data)
        with store.open("a/one") as stream:
            assert stream.read() == data
    store.delete("a")
    store.delete("a")
    with pytest.raises(FileNotFoundError):
        store.open("a/one")


def test_a_write_that_fails_leaves_no_file(store: Store, tmp_path: Path) -> None:
    with contextlib.suppress(ZeroDivisionError), store.writer("a/one") as stream:
        stream.write(b"half")
        raise ZeroDivisionError
    assert not list((tmp_path / "root" / "a").iterdir())


def test_a_file_that_is_being_written_has_no_name_yet(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.write("a/one", b"old")
    with store.writer("a/one") as stream:
        stream.write(b"new")
        stream.flush()
        assert (tmp_path / "a" / "one").read_bytes() == b"old"
    assert (tmp_path / "a" / "one").read_bytes() == b"new"


def test_only_the_owner_of_the_store_can_read_it(tmp_path: Path) -> None:
    LocalStore(tmp_path / "store").write("a/one", b"text")
    assert (tmp_path / "store" / "a").stat().st_mode & 0o077 == 0


def test_a_store_that_does_not_exist_is_named() -> None:
    with pytest.raises(SetupError, match="JOB_STORE"):
        open_store("what://ever")


def read(url: str, allowed: list[str]) -> bytes:
    check_url(url, allowed)
    stream: BinaryIO = open_url(url, allowed)
    with stream:
        return stream.read()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("in", "in-other", "in/sub"):
        (tmp_path / name).mkdir()
    for name in ("secret", "in-other/file", "in/file", "in/sub/a file"):
        (tmp_path / name).write_text(name)
    (tmp_path / "in" / "out").symlink_to(tmp_path / "secret")
    (tmp_path / "in" / "up").symlink_to(tmp_path)
    (tmp_path / "in" / "circle").symlink_to(tmp_path / "in" / "circle")
    (tmp_path / "in" / "link").symlink_to(tmp_path / "in" / "file")
    return tmp_path


@pytest.mark.parametrize("name", ["file", "link", "sub/a%20file", "sub/../file"])
def test_a_file_of_an_allowed_folder_is_read(folder: Path, name: str) -> None:
    assert read(f"{folder.as_uri()}/in/{name}", [f"{folder.as_uri()}/in"])


@pytest.mark.parametrize(
    "name",
    [
        "/in/../secret",
        "/in/%2e%2e/secret",
        "/in/out",
        "/in/up/secret",
        "/in-other/file",
        "/secret",
        "/in/nothing/../../secret",
        "/in/circle",
        "/in/file?x",
        "/in/file%00",
    ],
)
def test_every_way_out_of_an_allowed_folder_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(InvalidInput):
        read(folder.as_uri() + name, [f"{folder.as_uri()}/in"])


@pytest.mark.parametrize(
    "url",
    ["file://host/in/file", "ftp://host/file", "/in/file", "", "http://127.0.0.1/x", "https://[::1", "https://a:b/c"],
)
def test_a_source_of_another_kind_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput):
        check_url(url, ["file:///"])


def test_without_allowed_places_every_source_is_refused(folder: Path) -> None:
    with pytest.raises(InvalidInput, match="SENTIMENT_JOB_SOURCES"):
        read(f"{folder.as_uri()}/in/file", [])


def test_a_link_that_changes_after_the_check_is_refused_when_it_is_read(folder: Path) -> None:
    url, allowed = f"{folder.as_uri()}/in/link", [f"{folder.as_uri()}/in"]
    check_url(url, allowed)
    (folder / "in" / "link").unlink()
    (folder / "in" / "link").symlink_to(folder / "secret")
    with pytest.raises(InvalidInput):
        open_url(url, allowed)


@pytest.mark.parametrize("replaced", ["sub", "sub/a file"])
def test_a_link_put_between_check_and_open_is_not_followed(
    folder: Path, replaced: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere" / "a file").write_text("secret")
    target = folder / "elsewhere" / ("a file" if " " in replaced else "")
    check = sources._file

    def check_and_replace(url: str, allowed: list[str]) -> tuple[Path, Path]:
        found = check(url, allowed)
        (folder / "in" / replaced).rename(folder / "moved")
        (folder / "in" / replaced).symlink_to(target)
        return found

    monkeypatch.setattr(sources, "_file", check_and_replace)
    monkeypatch.setattr(sources, "check_url", lambda *_: None)
    with pytest.raises((InvalidInput, NotADirectoryError)):
        open_url(f"{folder.as_uri()}/in/sub/a%20file", [f"{folder.as_uri()}/in"])


def test_what_is_no_file_is_not_opened(folder: Path) -> None:
    os.mkfifo(folder / "in" / "pipe")  # nobody writes into it: an open that waits would never end
    for name in ("pipe", "sub"):
        with pytest.raises(IsADirectoryError):
            read(f"{folder.as_uri()}/in/{name}", [f"{folder.as_uri()}/in"])


def test_a_place_can_be_one_file(folder: Path) -> None:
    url = f"{folder.as_uri()}/in/file"
    assert read(url, [url]) == b"in/file"


def test_the_folders_of_a_store_are_listed_with_their_age(store: Store, tmp_path: Path) -> None:
    (tmp_path / "root" / "a" / "parts").mkdir()
    store.write("a/parts/one", b"x")
    assert store.folders() == ["a"]
    assert store.changed_at("a") > time.time() - 1000
    for path in (tmp_path / "root" / "a", *(tmp_path / "root" / "a").rglob("*")):
        os.utime(path, (1000, 1000))
    assert store.changed_at("a") == 1000
    assert store.changed_at("b") == 0


@pytest.mark.parametrize("kind", [LocalStore, lambda root: ObjectStore(root.as_uri())])
def test_a_store_that_is_not_there_yet_has_no_folders(tmp_path: Path, kind: Callable[[Path], Store]) -> None:
    assert kind(tmp_path / "store").folders() == []


def test_pyarrow_reads_what_the_store_opens(store: Store) -> None:
    import pyarrow as pa

    with store.writer("a/table") as stream:
        pq.write_table(pa.table({"text": ["good"]}), stream)
    with store.open("a/table") as source:
        assert pq.read_table(source).to_pydict() == {"text": ["good"]}


def test_a_scheme_in_capitals_is_refused_before_the_job_waits(folder: Path) -> None:
    with pytest.raises(InvalidInput, match="begins with"):
        check_url(f"FILE://{folder}/in/file", [f"file://{folder}/in"])
