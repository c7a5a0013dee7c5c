"""The file of API keys: its content, lookups and changes."""

import hashlib
import os
from pathlib import Path

import pytest

from app.access import Keys, add_key
from app.errors import KeysError


def holder(keys: Keys, key: str) -> str | None:
    found = keys.find(key)
    return found.name if found else None


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.yaml"


def test_the_file_contains_names_and_hashes_but_no_keys(file: Path) -> None:
    web, batch = add_key(file, "web"), add_key(file, "batch-7")
    assert web != batch
    assert web.startswith("rts_")
    assert len(web) == 47
    hashes = [hashlib.sha256(key.encode()).hexdigest() for key in (web, batch)]
    assert file.read_text() == f'"web": sha256:{hashes[0]}\n"batch-7": sha256:{hashes[1]}\n'
    assert Keys(file).names == ["web", "batch-7"]


def test_only_a_valid_key_has_a_holder(file: Path) -> None:
    web, batch = add_key(file, "web"), add_key(file, "batch")
    keys = Keys(file)
    assert [holder(keys, key) for key in (web, batch)] == ["web", "batch"]
    assert [holder(keys, key) for key in (web[:-1], web + "x", "web", "", "\udcff", "ключ")] == [None] * 6


def test_a_name_is_used_once(file: Path) -> None:
    add_key(file, "web")
    with pytest.raises(KeysError, match="already has a key for web"):
        add_key(file, "web")


@pytest.mark.parametrize("name", ["12", "007", "no", "null", "1.5", "2026-11-28", "2026-99-99", "0x1f", "y"])
def test_a_name_may_look_like_another_yaml_type(file: Path, name: str) -> None:
    key = add_key(file, name)
    add_key(file, "another")
    assert holder(Keys(file), key) == name


@pytest.mark.parametrize("content", ["web: 2024-02-30", "2026-99-99: x", "[" * 5000, "\x00", "a: &a [*a]"])
def test_invalid_yaml_is_a_keys_error(file: Path, content: str) -> None:
    file.write_text(content)
    with pytest.raises(KeysError):
        Keys(file)


@pytest.mark.parametrize("name", ["", "a b", "a: b", "-x", "a\n", "é", "x" * 65])
def test_a_name_is_short_and_plain(file: Path, name: str) -> None:
    with pytest.raises(KeysError, match="is not a valid name"):
        add_key(file, name)
    assert not file.exists()


def test_a_missing_final_newline_is_added_first(file: Path) -> None:
    file.write_text(f"old: sha256:{'0' * 64}")
    add_key(file, "new")
    assert Keys(file).names == ["old", "new"]


def test_a_change_of_the_file_is_noticed(file: Path) -> None:
    first = add_key(file, "first")
    keys = Keys(file)
    assert not keys.refresh()
    second = add_key(file, "second")
    assert holder(keys, second) is None
    assert keys.refresh()
    assert holder(keys, second) == "second"
    file.write_text(file.read_text().splitlines()[1])
    assert keys.refresh()
    assert holder(keys, first) is None


@pytest.mark.parametrize("content", ["", "# nobody\n"])
def test_an_empty_file_admits_nobody_until_a_key_is_added(file: Path, content: str) -> None:
    old = add_key(file, "old")
    keys = Keys(file)
    file.write_text(content)
    assert keys.refresh()
    assert (keys.names, holder(keys, old)) == ([], None)
    new = add_key(file, "new")
    assert keys.refresh()
    assert (keys.names, holder(keys, new)) == (["new"], "new")


def test_a_changed_symlink_is_noticed(tmp_path: Path) -> None:
    """Kubernetes replaces mounted files this way."""
    for name in ("one", "two"):
        add_key(tmp_path / name, name)
        os.utime(tmp_path / name, (0, 0))
    link = tmp_path / "keys"
    link.symlink_to("one")
    keys = Keys(link)
    link.unlink()
    link.symlink_to("two")
    assert keys.refresh()
    assert keys.names == ["two"]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("web", "expected a line"),
        ("[a, b]", "expected a line"),
        ("web: secret", "web needs `sha256:`"),
        ("web: sha256:123", "web needs `sha256:`"),
        ("web: 7", "web needs `sha256:`"),
        ("a b: sha256:" + "0" * 64, "a name is not valid"),
        ("7: sha256:" + "0" * 64, "a name is not valid"),
        ("web: [secret", "not YAML"),
        ("web: {scopes: [predict]}", "web needs `sha256:`"),
        ("web: {hash: secret}", "web needs `sha256:`"),
        (
            f"web: {{hash: sha256:{'0' * 64}, scope: secret}}",
            "web has a field that is none of",
        ),
        *[
            (f"web: {{hash: sha256:{'0' * 64}, scopes: {scopes}}}", "the scopes of web must be a list of predict, jobs")
            for scopes in ("secret", "[]", "[secret]", "[[predict]]", "", "7")
        ],
        *[
            (f"web: {{hash: sha256:{'0' * 64}, expires: {expires}}}", "web must expire at a time such as")
            for expires in ("secret", "", "90d", "[]", "20270131", "true")
        ],
    ],
)
def test_an_invalid_file_is_refused_without_quoting_it(file: Path, content: str, complaint: str) -> None:
    file.write_text(content)
    with pytest.raises(KeysError, match=complaint) as caught:
        Keys(file)
    assert "secret" not in str(caught.value)


def test_a_missing_file_is_named(file: Path) -> None:
    with pytest.raises(KeysError, match=r"keys\.yaml: No such file"):
        Keys(file)
    with pytest.raises(KeysError, match="No such file"):
        add_key(file / "below", "web")


def test_an_invalid_change_keeps_the_old_keys(file: Path) -> None:
    key = add_key(file, "web")
    content = file.read_text()
    keys = Keys(file)
    file.write_text("web: secret")
    with pytest.raises(KeysError):
        keys.refresh()
    assert not keys.refresh()  # it raises once per change
    assert holder(keys, key) == "web"
    file.unlink()
    with pytest.raises(KeysError, match="No such file"):
        keys.refresh()
    file.write_text(content)
    assert keys.refresh()


def test_a_file_that_could_not_be_opened_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "keys.yaml"
    key = add_key(file, "web")
    keys = Keys(file)
    file.write_text("")  # the key is revoked

    def fail(*_: object, **__: object) -> str:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_text", fail)
        with pytest.raises(KeysError, match="Too many open files"):
            keys.refresh()
    assert keys.refresh()
    assert keys.find(key) is None
