"""`rt-sentiment key` changes a file that other processes read and change at the same time."""

import os
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.access import Keys, add_key, parse_expiry, remove_key
from app.access.keys import read_keys
from app.cli import main
from app.errors import KeysError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.yaml"


@pytest.fixture
def umask() -> Iterator[None]:
    """The default of most systems, so that a file that is simply written can be read by everyone."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(file: Path) -> int:
    return stat.S_IMODE(file.stat().st_mode)


def test_no_key_is_lost_if_several_are_added_at_once(file: Path) -> None:
    names = [f"client-{number}" for number in range(24)]
    with ThreadPoolExecutor(len(names)) as pool:
        keys = dict(zip(names, pool.map(lambda name: add_key(file, name), names), strict=True))
    stored = Keys(file)
    assert sorted(stored.names) == sorted(names)
    for name, key in keys.items():
        found = stored.find(key)
        assert found
        assert found.name == name


def test_of_two_keys_with_one_name_only_one_is_added(file: Path) -> None:
    def add(_: int) -> str | None:
        try:
            return add_key(file, "web")
        except KeysError:
            return None

    with ThreadPoolExecutor(8) as pool:
        (key,) = filter(None, pool.map(add, range(8)))
    assert Keys(file).find(key)


@pytest.mark.usefixtures("umask")
@pytest.mark.parametrize(
    ("before", "after"), [(None, 0o600), (0o644, 0o600), (0o666, 0o600), (0o400, 0o400), (0o600, 0o600), (0o640, 0o640)]
)
def test_only_those_who_are_meant_to_can_read_the_file(file: Path, before: int | None, after: int) -> None:
    if before:
        file.write_text("")
        file.chmod(before)
    add_key(file, "web")
    assert mode(file) == after


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to others")
def test_the_file_keeps_its_owner(file: Path) -> None:
    file.write_text("")
    os.chown(file, 10001, 10001)
    add_key(file, "web")
    assert (file.stat().st_uid, file.stat().st_gid) == (10001, 10001)


def test_a_reader_never_sees_a_part_of_the_file(file: Path) -> None:
    first = add_key(file, "first")
    before = file.open()
    add_key(file, "second")
    assert len(before.read().splitlines()) == 1  # the old file, complete
    before.close()
    assert Keys(file).find(first)
    assert [path.name for path in file.parent.iterdir()] == ["keys.yaml"]


def test_a_failure_leaves_the_old_file_and_nothing_else(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_key(file, "web")
    content = file.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(KeysError, match=r"keys\.yaml: No space left on device"):
        add_key(file, "batch")
    assert file.read_bytes() == content
    assert [path.name for path in file.parent.iterdir()] == ["keys.yaml"]


@pytest.mark.parametrize("exists", [True, False])
def test_a_symlink_stays_and_its_target_gets_the_key(tmp_path: Path, exists: bool) -> None:
    (tmp_path / "data").mkdir()
    target = tmp_path / "data" / "keys.yaml"
    if exists:
        add_key(target, "old")
    link = tmp_path / "keys.yaml"
    link.symlink_to("data/keys.yaml")
    key = add_key(link, "new")
    assert link.is_symlink()
    assert not target.is_symlink()
    assert Keys(target).find(key)
    assert Keys(link).names == (["old"] if exists else []) + ["new"]


def test_what_is_not_a_regular_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(KeysError, match="not a regular file"):
            add_key(path, "web")


def test_a_key_may_expire_and_have_scopes(file: Path) -> None:
    expires = datetime(2100, 1, 31, 12, 30, tzinfo=UTC)
    add_key(file, "web", expires=expires, scopes=["predict", "jobs"])
    add_key(file, "short")
    web, short = read_keys(file)
    assert file.read_text().startswith('"web": {hash: sha256:')
    assert "expires: 2100-01-31T12:30:00Z, scopes: [predict, jobs]}\n" in file.read_text()
    assert (web.expires, web.scopes) == (expires, {"predict", "jobs"})
    assert (short.expires, short.scopes) == (None, {"predict"})


@pytest.mark.parametrize(
    ("stated", "has_expired"),
    [
        ("2001-01-31", True),
        ("2001-01-31T00:00:00Z", True),
        ("'2001-01-31 00:00:00'", True),
        ("2001-01-31T00:00:00+02:00", True),
        ("2100-01-31", False),
        ("2100-01-31 00:00:00", False),
    ],
)
def test_a_time_in_the_file_is_in_utc_unless_it_says_otherwise(file: Path, stated: str, has_expired: bool) -> None:
    file.write_text(f"web: {{hash: sha256:{'0' * 64}, expires: {stated}}}")
    (key,) = read_keys(file)
    assert key.expires
    assert key.expires.tzinfo
    assert key.has_expired() is has_expired


def test_a_key_expires_after_days_or_hours_or_at_a_date() -> None:
    now = datetime.now(UTC)
    assert timedelta(0) <= parse_expiry("90d") - now - timedelta(days=90) < timedelta(minutes=1)
    assert timedelta(0) <= parse_expiry("12h") - now - timedelta(hours=12) < timedelta(minutes=1)
    assert parse_expiry("2100-01-31") == datetime(2100, 1, 31, tzinfo=UTC)
    assert parse_expiry("2100-01-31T01:00:00+01:00") == datetime(2100, 1, 31, tzinfo=UTC)


@pytest.mark.parametrize(
    "flags",
    [
        ["--expires", "0d"], ["--expires", "2001-01-31"], ["--expires", ""], ["--expires", "soon"],
        ["--expires", "-1d"], ["--expires", "99999999d"], ["--scope", "all"], ["--scope", ""],
    ],
)  # fmt: skip
def test_a_wrong_flag_adds_no_key(file: Path, flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["key", str(file), "web", *flags])
    assert ended.value.code == 2
    assert flags[0] in capsys.readouterr().err
    assert not file.exists()


def test_the_flags_end_up_in_the_file(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["key", str(file), "web", "--expires", "2100-01-31", "--scope", "jobs", "--scope", "jobs"])
    assert ended.value.code == 0
    assert "expires: 2100-01-31T00:00:00Z, scopes: [jobs]}" in file.read_text()
    assert Keys(file).find(capsys.readouterr().out.strip())


def test_removing_a_key_leaves_all_other_lines_as_they_are(file: Path) -> None:
    digest = "a" * 64
    others = f"# of the team\nweb: sha256:{digest} # the page\n\n'12':\n  scopes: [jobs]\n  hash: sha256:{digest}\n"
    file.write_text(others + f'"app": {{hash: sha256:{digest},\n  scopes: [predict]}}\n')
    remove_key(file, "app")
    assert file.read_text() == others
    remove_key(file, "12")
    assert file.read_text() == f"# of the team\nweb: sha256:{digest} # the page\n\n"
    remove_key(file, "web")
    assert Keys(file).names == []


def test_no_change_is_lost_if_keys_are_added_and_removed_at_once(file: Path) -> None:
    for number in range(12):
        add_key(file, f"old-{number}")
    with ThreadPoolExecutor(24) as pool:
        removed = [pool.submit(remove_key, file, f"old-{number}") for number in range(12)]
        added = [pool.submit(add_key, file, f"new-{number}") for number in range(12)]
        for each in (*removed, *added):
            each.result()
    assert sorted(Keys(file).names) == sorted(f"new-{number}" for number in range(12))


@pytest.mark.parametrize("content", ["", "web: sha256:" + "a" * 64])
def test_a_key_that_is_not_there_cannot_be_removed(file: Path, content: str) -> None:
    file.write_text(content)
    with pytest.raises(KeysError, match="has no key for app"):
        remove_key(file, "app")
    assert file.read_text() == content


def test_a_file_whose_keys_share_a_line_is_left_alone(file: Path) -> None:
    content = f"{{web: sha256:{'a' * 64}, app: sha256:{'b' * 64}}}\n"
    file.write_text(content)
    with pytest.raises(KeysError, match="with an editor"):
        remove_key(file, "app")
    assert file.read_text() == content
    assert [each.name for each in file.parent.iterdir()] == [file.name]


def test_removing_from_a_missing_file_says_so(file: Path) -> None:
    with pytest.raises(KeysError, match="No such file"):
        remove_key(file, "app")
