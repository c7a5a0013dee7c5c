"""The models file changes in one step, is never lost, and keeps what people gave it."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.catalog import Catalog, ModelSpec, VersionSpec, add, locate, locked, loses_comments, read, write
from app.catalog.file import render
from app.catalog.parsing import parse
from app.errors import ModelsFileError
from tests.support.catalog import one_model, version

CATALOG = one_model(version("models/a", 90), version("b", 9.5), version("c", shadow=True), version("d"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "models.yaml"


def mode(file: Path) -> int:
    return stat.S_IMODE(file.stat().st_mode)


def test_a_file_looks_as_people_write_it(file: Path) -> None:
    pinned = VersionSpec("o/n@v1", "hub", 0.5, shadow=False, digest="sha256:" + "0a" * 32)
    write(file, Catalog((*CATALOG.models, ModelSpec("no", (pinned,)))))
    assert (
        file.read_text()
        == f"""\
models:
  m:
    versions:
      - {{path: models/a, weight: 90}}
      - {{path: b, weight: 9.5}}
      - {{path: c, shadow: true}}
      - {{path: d, weight: 0}}
  'no':
    versions:
      - {{hub: o/n@v1, weight: 0.5, digest: 'sha256:{"0a" * 32}'}}
"""
    )


names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True)
paths = st.text(min_size=1, max_size=60).filter(lambda text: text.isprintable() and text == text.strip())


@given(names, paths.filter(lambda text: "://" not in text), st.integers(1, 10_000))
def test_what_is_written_is_read_again(name: str, path: str, hundredths: int) -> None:
    catalog = Catalog((ModelSpec(name, (version(path, hundredths / 100), version("!other", shadow=True))),))
    assert parse(render(catalog)) == catalog


def test_the_comments_at_the_head_stay(file: Path) -> None:
    file.write_text(
        "# What we serve.\n\n  # Ask the team first.\nmodels: # not this\n  m: {versions: [{path: x}]}\n# nor\n"
    )
    write(file, CATALOG)
    assert file.read_text().startswith("# What we serve.\n\n  # Ask the team first.\nmodels:\n  m:\n")
    assert file.read_text().count("#") == 2
    write(file, CATALOG)
    assert file.read_text().count("#") == 2
    assert read(file) == CATALOG


@pytest.mark.parametrize(("before", "after"), [(None, 0o644), (0o600, 0o600), (0o664, 0o664)])
def test_the_mode_of_the_file_stays(file: Path, before: int | None, after: int) -> None:
    if before:
        file.write_text("")
        file.chmod(before)
    write(file, CATALOG)
    assert mode(file) == after


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to others")
def test_the_file_keeps_its_owner(file: Path) -> None:
    file.write_text("")
    os.chown(file, 10001, 10002)
    write(file, CATALOG)
    assert (file.stat().st_uid, file.stat().st_gid) == (10001, 10002)


@pytest.mark.parametrize("exists", [True, False])
def test_a_symlink_stays_and_its_target_changes(tmp_path: Path, file: Path, exists: bool) -> None:
    (tmp_path / "data").mkdir()
    target = tmp_path / "data" / "real.yaml"
    if exists:
        write(target, one_model(version("x", 100)))
    file.symlink_to("data/real.yaml")
    with locked(file):
        write(file, CATALOG)
    assert file.is_symlink()
    assert not target.is_symlink()
    assert read(target) == CATALOG
    assert sorted(entry.name for entry in target.parent.iterdir()) == [".real.yaml.lock", "real.yaml"]


def test_a_reader_never_sees_a_part_of_the_file(file: Path) -> None:
    write(file, CATALOG)
    with file.open() as before:
        write(file, one_model(version("x", 100)))
        assert parse(before.read()) == CATALOG
    assert [entry.name for entry in file.parent.iterdir()] == ["models.yaml"]


def test_a_failure_leaves_the_old_file_and_nothing_else(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(file, CATALOG)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ModelsFileError, match=f"^{file} cannot be changed: No space left on device$"):
        write(file, one_model(version("x", 100)))
    assert read(file) == CATALOG
    assert [entry.name for entry in file.parent.iterdir()] == ["models.yaml"]


def test_a_file_that_its_owner_made_read_only_is_not_changed(file: Path) -> None:
    write(file, CATALOG)
    file.chmod(0o444)
    with pytest.raises(ModelsFileError, match=f"^{file} is read-only; allow changes with `chmod u\\+w`"):
        write(file, CATALOG)
    with pytest.raises(ModelsFileError, match="is read-only"), locked(file):
        pass


def test_a_configmap_of_kubernetes_is_not_changed(tmp_path: Path, file: Path) -> None:
    (tmp_path / "..2026").mkdir()
    write(tmp_path / "..2026" / "models.yaml", CATALOG)
    (tmp_path / "..data").symlink_to("..2026")
    file.symlink_to("..data/models.yaml")
    assert read(file) == CATALOG
    with pytest.raises(ModelsFileError, match="comes from a ConfigMap or a Secret of Kubernetes and cannot be changed"):
        write(file, CATALOG)


@pytest.mark.parametrize(
    ("number", "why"),
    [
        (30, "cannot be changed: its file system is mounted read-only"),
        (13, "cannot be changed: this user may not write there"),
        (16, "cannot be changed: it is mounted by itself; mount the folder"),
    ],
)
def test_a_mount_that_forbids_changes_is_explained(
    file: Path, number: int, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, "no")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(ModelsFileError, match=why):
        write(file, CATALOG)
    assert list(file.parent.iterdir()) == []


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelsFileError, match=r"none/models\.yaml cannot be changed: its folder does not exist"):
        write(tmp_path / "none" / "models.yaml", CATALOG)
    with pytest.raises(ModelsFileError, match="its folder does not exist"), locked(tmp_path / "none" / "models.yaml"):
        pass


def test_what_is_not_a_regular_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(ModelsFileError, match="not a regular file"):
            read(path)
        with pytest.raises(ModelsFileError, match="not a regular file"):
            write(path, CATALOG)


def test_no_change_is_lost_if_several_are_made_at_once(file: Path) -> None:
    write(file, one_model(version("first", 100)))

    def change(number: int) -> None:
        with locked(file):
            write(file, add(read(file), f"model-{number}", version("a"))[0])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(change, range(8)))
    assert sorted(model.name for model in read(file).models) == sorted(["m", *(f"model-{n}" for n in range(8))])


def test_a_file_whose_comments_cannot_be_read_is_named(file: Path) -> None:
    file.write_bytes(b"# \xff\n")
    with pytest.raises(ModelsFileError, match=f"^{file}, line 1: not valid UTF-8$"):
        write(file, CATALOG)


def test_the_lock_ends_with_an_error(file: Path) -> None:
    with pytest.raises(ZeroDivisionError), locked(file):
        raise ZeroDivisionError
    with locked(file):
        pass


def test_a_path_begins_in_the_folder_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here" / "models" / "a").mkdir(parents=True)
    (tmp_path / "there" / "models" / "a").mkdir(parents=True)
    (tmp_path / "there" / "models" / "b").mkdir()
    (tmp_path / "there" / "bare").mkdir()
    monkeypatch.chdir(tmp_path / "there")
    file = tmp_path / "here" / "models.yaml"
    assert locate(file, version("models/a")) == str(tmp_path / "here/models/a")
    assert locate(file, version("./models/../models/a")) == str(tmp_path / "here/models/a")
    assert locate(file, version("models/b")) == str(tmp_path / "there/models/b")
    assert locate(file, version("bare")) == str(tmp_path / "there/bare")
    assert locate(Path("../here/models.yaml"), version("models/a")) == str(tmp_path / "here/models/a")


def test_a_path_may_begin_where_a_symlink_of_the_file_leads(tmp_path: Path) -> None:
    (tmp_path / "real" / "a").mkdir(parents=True)
    (tmp_path / "models.yaml").symlink_to("real/models.yaml")
    assert locate(tmp_path / "models.yaml", version("a")) == str(tmp_path / "real" / "a")


def test_the_name_of_an_embedded_model_stays(file: Path) -> None:
    assert locate(file, version("sentiment-en")) == "sentiment-en"


def test_a_path_that_is_missing_is_never_taken_for_a_hub_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert locate(tmp_path / "models.yaml", version("owner/name")) == str(tmp_path / "owner/name")


@pytest.mark.parametrize("source", ["~nobody-of-this-name", "~nobody-of-this-name/a", "a" * 300, "a/" + "b" * 300])
def test_a_path_that_no_folder_can_have_stays_a_path(file: Path, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(file.parent)
    assert locate(file, version(source)) == (source if source == "a" * 300 else str(file.parent / source))


def test_a_path_may_begin_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert locate(tmp_path / "models.yaml", version("~/a")) == str(tmp_path / "home" / "a")


@pytest.mark.parametrize(
    ("text", "lost"),
    [
        (None, False),
        ("# head\nmodels: {m: {versions: [{path: 'a#b'}]}}\n", False),
        ("# head\nmodels: # more\n", True),
        ("models: {}\n# end\n", True),
        ("models:\n\t# end\n", True),
    ],
)
def test_comments_that_are_lost_are_noticed(file: Path, text: str | None, lost: bool) -> None:
    if text is not None:
        file.write_text(text)
    assert loses_comments(file) == lost


def test_a_hub_name_and_an_address_stay(file: Path) -> None:
    assert locate(file, VersionSpec("o/n@v", "hub", 1, shadow=False)) == "o/n@v"
    assert locate(file, VersionSpec("s3://b/n", "url", 1, shadow=False)) == "s3://b/n"
