"""The cache of artifacts: complete or not there, bounded, and shared by processes."""

import errno
import hashlib
import json
import logging
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from app.artifacts import ArtifactStore, download
from app.artifacts import store as store_module
from app.artifacts.locks import acquire
from app.errors import ArtifactError, CorruptArtifact
from tests.support.artifacts import Stall, artifact, web_server, write_manifest
from tests.support.process import ROOT

MIB = 1024**2


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return tmp_path / "source"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def memory() -> Iterator[Any]:
    files = fsspec.filesystem("memory")
    files.store.clear()
    files.pseudo_dirs[:] = [""]
    yield files
    files.store.clear()


def content(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def artifacts(cache: Path) -> set[str]:
    """All that is in the cache, but the locks of artifacts in use."""
    return {entry.name for entry in cache.iterdir() if not entry.name.endswith(".use")}


def test_an_artifact_is_downloaded_under_the_sha256_of_its_manifest(source: Path, cache: Path) -> None:
    digest = artifact(source)
    (source / "MODEL_CARD.md").write_text("not in the manifest")
    (source / "model.sig").write_text("signature")
    folder = ArtifactStore(cache, MIB).fetch(f"file://{source}")
    assert folder == cache / digest
    assert content(folder).keys() == {"config.json", "onnx/model.onnx", "manifest.json", "model.sig"}
    assert hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest() == digest
    assert artifacts(cache) == {digest}


def test_it_is_read_from_whatever_fsspec_opens(source: Path, cache: Path, memory: Any) -> None:
    digest = artifact(source)
    memory.put(str(source) + "/", "/bucket/model", recursive=True)
    assert content(ArtifactStore(cache, MIB).fetch("memory://bucket/model/")) == content(source)
    assert artifacts(cache) == {digest}


def test_it_is_read_from_a_web_site_and_through_redirects(source: Path, cache: Path) -> None:
    artifact(source / "my model")
    with web_server(source) as (address, paths):
        folder = ArtifactStore(cache, MIB).fetch(f"{address}/moved/my model/")
        assert content(folder) == content(source / "my model")
        assert paths[:2] == ["/moved/my%20model/manifest.json", "/my%20model/manifest.json"]


def test_a_second_fetch_reads_only_the_manifest(source: Path, cache: Path) -> None:
    artifact(source)
    with web_server(source) as (address, paths):
        first = ArtifactStore(cache, MIB).fetch(address)
        paths.clear()
        assert ArtifactStore(cache, MIB).fetch(address) == first
        assert paths == ["/manifest.json"]


def test_a_newer_signature_is_fetched_where_one_is_needed(source: Path, cache: Path) -> None:
    artifact(source)
    store = ArtifactStore(cache, MIB)
    folder = store.fetch(f"file://{source}", signed=True)
    assert not (folder / "model.sig").exists()
    (source / "model.sig").write_text("signature")
    store.fetch(f"file://{source}")
    assert not (folder / "model.sig").exists()
    store.fetch(f"file://{source}", signed=True)
    assert (folder / "model.sig").read_text() == "signature"
    assert len(content(folder)) == 4


def test_an_update_gets_a_folder_of_its_own(source: Path, cache: Path) -> None:
    store = ArtifactStore(cache, MIB)
    first = store.fetch(f"file://{source}") if artifact(source) else cache
    second = store.fetch(f"file://{source}") if artifact(source, weights=b"retrained") else cache
    assert (first / "onnx/model.onnx").read_bytes() == b"weights"
    assert (second / "onnx/model.onnx").read_bytes() == b"retrained"


def test_the_digest_pins_the_manifest(source: Path, cache: Path) -> None:
    digest = artifact(source)
    assert ArtifactStore(cache, MIB).fetch(f"file://{source}", f"sha256:{digest.upper()}").name == digest
    with pytest.raises(CorruptArtifact, match=rf"the sha256 of its manifest.json is {digest}, and not 0{{64}}, as st"):
        ArtifactStore(cache, MIB).fetch(f"file://{source}", "0" * 64)


def test_an_address_without_a_manifest_is_refused(source: Path, cache: Path) -> None:
    artifact(source)
    (source / "manifest.json").unlink()
    with pytest.raises(ArtifactError, match=r"manifest.json: .*says what is in the artifact: export the model with"):
        ArtifactStore(cache, MIB).fetch(f"file://{source}")
    with (
        web_server(source) as (address, _),
        pytest.raises(ArtifactError, match=r"manifest\.json: the server answered 404\. An address needs a manifest"),
    ):
        ArtifactStore(cache, MIB).fetch(address)
    assert not cache.exists()


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ("[]", "manifest.json: not a JSON object"),
        ('{"files": {}', "manifest.json: not valid JSON"),
        ('{"files": {"../model.onnx": {"sha256": "' + "0" * 64 + '"}}}', "`files` must have the sha256 of each file"),
        ('{"files": {"/etc/passwd": {"sha256": "' + "0" * 64 + '"}}}', "`files` must have the sha256 of each file"),
        ('{"files": {"a\\u0000b": {"sha256": "' + "0" * 64 + '"}}}', "`files` must have the sha256 of each file"),
        ('{"files": {"a": {"sha256": "' + "0" * 64 + '", "bytes": "1"}}}', "`bytes` of a file must be a whole number"),
        ('{"files": {"a": {"sha256": "' + "0" * 64 + '", "bytes": -1}}}', "`bytes` of a file must be a whole number"),
        ('{"files": {"a": {"sha256": "' + "0" * 64 + '"}}, "x": "' + "x" * 2000 + '"}', "more than 1,000 bytes"),
    ],
)
def test_a_manifest_that_cannot_be_used_is_refused(
    source: Path, cache: Path, manifest: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "_LARGEST_MANIFEST", 1000)
    artifact(source)
    (source / "manifest.json").write_text(manifest)
    with pytest.raises(ArtifactError, match=message):
        ArtifactStore(cache, MIB).fetch(f"file://{source}")
    assert not cache.exists()


def replace(source: Path) -> None:
    (source / "config.json").write_bytes(bytes(len((source / "config.json").read_bytes())))


def lengthen(source: Path) -> None:
    with (source / "config.json").open("a") as file:
        file.write(" ")


def cut(source: Path) -> None:
    (source / "config.json").write_text("{")


def unlink(source: Path) -> None:
    (source / "config.json").unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (replace, "config.json: checksum differs from manifest.json"),
        (lengthen, "config.json: it has more than the 39 bytes that manifest.json states"),
        (cut, "config.json: only 1 of the 39 bytes that manifest.json states arrived; try again"),
        (unlink, "config.json: No such file"),
    ],
)
def test_an_artifact_with_other_files_leaves_nothing_behind(
    source: Path, cache: Path, damage: Callable[[Path], None], message: str
) -> None:
    artifact(source)
    damage(source)
    with pytest.raises(ArtifactError, match=message):
        ArtifactStore(cache, MIB).fetch(f"file://{source}")
    assert artifacts(cache) == set()


def test_a_server_that_breaks_during_the_download_leaves_nothing(
    source: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact(source)
    real = os.fsync
    with web_server(source) as (address, _):

        def fail_later(descriptor: int) -> None:
            (source / "onnx/model.onnx").unlink(missing_ok=True)
            real(descriptor)

        monkeypatch.setattr(os, "fsync", fail_later)
        with pytest.raises(ArtifactError, match=r"onnx/model\.onnx: the server answered 404"):
            ArtifactStore(cache, MIB).fetch(address)
    assert artifacts(cache) == set()


def test_a_download_that_was_killed_begins_again(source: Path, cache: Path) -> None:
    digest = artifact(source)
    for name in (f"{digest}.partial", f"{'0' * 64}.partial", f".removed-{'1' * 64}-use"):
        (cache / name / "onnx").mkdir(parents=True)
        (cache / name / "onnx" / "model.onnx").write_text("the first half")
    folder = ArtifactStore(cache, MIB).fetch(f"file://{source}")
    assert content(folder) == content(source)
    assert artifacts(cache) == {digest}


def test_a_download_of_another_process_is_left_alone(source: Path, cache: Path) -> None:
    digest = artifact(source)
    (cache / f"{'0' * 64}.partial").mkdir(parents=True)
    lock = acquire(cache / f"{'0' * 64}.writing")
    ArtifactStore(cache, MIB).fetch(f"file://{source}")
    assert artifacts(cache) == {digest, f"{'0' * 64}.partial", f"{'0' * 64}.writing"}
    lock.release(remove=True)


@pytest.mark.parametrize("name", ["config.json", "manifest.json"])
def test_a_folder_that_lost_a_file_is_downloaded_again(source: Path, cache: Path, name: str) -> None:
    artifact(source)
    folder = ArtifactStore(cache, MIB).fetch(f"file://{source}")
    (folder / name).unlink()
    assert content(ArtifactStore(cache, MIB).fetch(f"file://{source}")) == content(source)


def test_sizes_that_are_not_stated_are_bounded_all_the_same(source: Path, cache: Path) -> None:
    artifact(source, weights=b"w" * 500)
    manifest = json.loads((source / "manifest.json").read_text())
    for entry in manifest["files"].values():
        del entry["bytes"]
    (source / "manifest.json").write_text(json.dumps(manifest))
    assert ArtifactStore(cache, 1000).fetch(f"file://{source}")
    with pytest.raises(
        ArtifactError, match=r"model\.onnx: with it, the artifact is larger than SENTIMENT_MODELS_CACHE"
    ):
        ArtifactStore(cache / "other", 500).fetch(f"file://{source}")
    assert artifacts(cache / "other") == set()


def test_an_artifact_larger_than_the_cache_is_refused_at_once(source: Path, cache: Path) -> None:
    artifact(source, weights=b"w" * 2000)
    with pytest.raises(ArtifactError, match="has 2,039 bytes, and the cache at most 1,000; raise SENTIMENT_MODELS_CAC"):
        ArtifactStore(cache, 1000).fetch(f"file://{source}")
    assert not cache.exists()


def test_what_was_used_least_recently_is_removed_first(source: Path, cache: Path) -> None:
    store = ArtifactStore(cache, 2500)
    digests = [artifact(source / str(number), weights=str(number).encode() * 500) for number in range(5)]
    for number, digest in enumerate(digests[:3]):
        store.release(store.fetch(f"file://{source / str(number)}"))
        os.utime(cache / f"{digest}.use", (number, number))
    store.release(store.fetch(f"file://{source / '0'}"))
    store.release(store.fetch(f"file://{source / '3'}"))
    assert artifacts(cache) == {digests[index] for index in (0, 2, 3)}
    assert {file.name for file in cache.iterdir()} >= {f"{digests[0]}.use"}
    (cache / f"{digests[3]}.use").unlink()  # whose last use is not known
    store.release(store.fetch(f"file://{source / '4'}"))
    assert artifacts(cache) == {digests[index] for index in (0, 2, 4)}


def test_what_is_in_use_is_not_removed(source: Path, cache: Path) -> None:
    store, other = ArtifactStore(cache, 1500), ArtifactStore(cache, 1500)
    digests = [artifact(source / str(number), weights=str(number).encode() * 1000) for number in range(3)]
    first = store.fetch(f"file://{source / '0'}")
    assert store.fetch(f"file://{source / '0'}") == first
    second = other.fetch(f"file://{source / '1'}")
    assert artifacts(cache) == set(digests[:2])
    store.release(first)
    other.release(first)  # it has not fetched it
    other.release(second)
    other.release(other.fetch(f"file://{source / '2'}"))
    assert artifacts(cache) == {digests[0], digests[2]}
    store.release(first)
    store.release(other.fetch(f"file://{source / '1'}"))
    assert artifacts(cache) == {digests[1]}


def fetching(cache: Path, source: str, max_bytes: int = MIB) -> "subprocess.Popen[str]":
    """A process that fetches an artifact, prints its folder, and uses it until its input ends."""
    code = (
        "import sys; from pathlib import Path; from app.artifacts import ArtifactStore; "
        f"print(ArtifactStore(Path({str(cache)!r}), {max_bytes}).fetch({source!r}), flush=True); sys.stdin.read()"
    )
    program = [sys.executable, "-c", code]
    return subprocess.Popen(program, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_an_artifact_in_use_by_another_process_stays_until_it_ends(source: Path, cache: Path) -> None:
    digests = [artifact(source / str(number), weights=str(number).encode() * 1000) for number in range(3)]
    with fetching(cache, f"file://{source / '0'}", 1500) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == str(cache / digests[0])
        store = ArtifactStore(cache, 1500)
        store.release(store.fetch(f"file://{source / '1'}"))
        assert artifacts(cache) == set(digests[:2])
        process.kill()
        process.wait()
    store.release(store.fetch(f"file://{source / '2'}"))
    assert digests[0] not in artifacts(cache)


def test_fetches_at_once_download_each_file_once(source: Path, cache: Path) -> None:
    digest = artifact(source)
    folders: list[Path] = []
    with web_server(source) as (address, paths):

        def fetch() -> None:
            folders.append(ArtifactStore(cache, MIB).fetch(address))

        threads = [threading.Thread(target=fetch) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert paths.count("/onnx/model.onnx") == 1
        assert paths.count("/manifest.json") == 8
    assert folders == [cache / digest] * 8
    assert artifacts(cache) == {digest}


def test_after_a_kill_other_processes_download_each_file_once(source: Path, cache: Path) -> None:
    digest = artifact(source)
    stall = Stall("onnx/model.onnx")
    with web_server(source, stall) as (address, paths):
        with fetching(cache, address) as process:
            assert stall.reached.wait(60)
            assert artifacts(cache) >= {f"{digest}.partial"}
            assert digest not in artifacts(cache)
            process.kill()
        stall.over.set()
        with fetching(cache, address) as first, fetching(cache, address) as second:
            done = [process.communicate()[0].strip() for process in (first, second)]
    assert done == [str(cache / digest)] * 2
    assert paths.count("/onnx/model.onnx") == 2  # the one that was killed, and one for both others
    assert content(cache / digest) == content(source)
    assert artifacts(cache) == {digest}


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_a_plain_error_and_leaves_nothing(
    source: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    artifact(source)

    def full(_descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(ArtifactError, match="the disk is full; free some of it, or set SENTIMENT_MODELS_CACHE to"):
            ArtifactStore(cache, MIB).fetch(f"file://{source}")
    assert artifacts(cache) == set()
    assert ArtifactStore(cache, MIB).fetch(f"file://{source}")


def test_a_disk_without_enough_room_is_not_filled(source: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artifact(source)
    monkeypatch.setattr(store_module.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 30}))
    with pytest.raises(
        ArtifactError, match=r"has 46 bytes, and 30 are free in .*cache; free some, or set SENTIMENT_MOD"
    ):
        ArtifactStore(cache, MIB).fetch(f"file://{source}")


def test_a_cache_that_cannot_be_written_is_named(source: Path, cache: Path) -> None:
    artifact(source)
    cache.write_text("a file")
    with pytest.raises(
        ArtifactError, match=r"cache: the cache of artifacts cannot be written .*; set SENTIMENT_MODELS"
    ):
        ArtifactStore(cache, MIB).fetch(f"file://{source}")


def test_a_cache_that_cannot_be_cleaned_up_is_logged_only(
    source: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    artifact(source)

    def fail(_folder: Path) -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(store_module, "_size", fail)
    with caplog.at_level(logging.WARNING):
        assert ArtifactStore(cache, MIB).fetch(f"file://{source}")
    assert "the cache of artifacts cannot be cleaned up" in caplog.text


def test_a_file_that_goes_while_it_is_measured_counts_nothing(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artifact(source)
    assert store_module._size(source) > 46
    monkeypatch.setattr(Path, "rglob", lambda *_: [source / "gone"])
    monkeypatch.setattr(Path, "is_file", lambda *_: True)
    assert store_module._size(source) == 0


def test_a_folder_that_another_process_removed_is_skipped(source: Path, cache: Path) -> None:
    artifact(source)
    store = ArtifactStore(cache, MIB)
    store.fetch(f"file://{source}")
    assert store._remove_alone(cache / ("0" * 64), cache / ("0" * 64), "use") is False
    assert not (cache / f"{'0' * 64}.use").exists()


def test_a_manifest_may_list_the_signature(source: Path, cache: Path) -> None:
    artifact(source)
    (source / "signature").mkdir()
    (source / "signature" / "a").write_text("x")
    write_manifest(source)
    manifest = json.loads((source / "manifest.json").read_text())
    (source / "model.sig").write_text("x")
    manifest["files"]["model.sig"] = manifest["files"]["signature/a"]
    (source / "manifest.json").write_text(json.dumps(manifest))
    assert content(ArtifactStore(cache, MIB).fetch(f"file://{source}")) == content(source)


def test_a_corrupt_artifact_is_discarded_unless_it_is_in_use(source: Path, cache: Path) -> None:
    artifact(source)
    store, other = ArtifactStore(cache, MIB), ArtifactStore(cache, MIB)
    folder, same = (each.fetch(f"file://{source}") for each in (store, other))
    store.discard(folder)
    assert same.is_dir()
    other.discard(same)
    assert not same.exists()
    assert store.fetch(f"file://{source}") == folder


def test_what_is_pinned_and_there_needs_no_address(source: Path, cache: Path) -> None:
    digest = artifact(source)
    folder = ArtifactStore(cache, MIB).fetch(f"file://{source}")
    shutil.rmtree(source)
    store = ArtifactStore(cache, MIB)
    assert store.fetch(f"file://{source}", f"sha256:{digest}") == folder
    store.release(folder)
    with pytest.raises(ArtifactError):  # it has no signature
        store.fetch(f"file://{source}", digest, signed=True)
    (folder / "config.json").unlink()
    with pytest.raises(ArtifactError):
        store.fetch(f"file://{source}", digest)
