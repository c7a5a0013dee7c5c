"""The audit log keeps every change, and says where a rollback leads."""

import json
import os
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from app.catalog import Change, Shares, appending, audit_file, previous, read_log
from app.errors import ModelsFileError

WHEN = datetime(2026, 12, 1, 10, 30, tzinfo=UTC)
A: Shares = {"a": 100.0, "b": 0.0}
AB: Shares = {"a": 90.0, "b": 10.0}
B: Shares = {"a": 0.0, "b": 100.0}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "models.audit.jsonl"


def change(command: str, before: Shares, after: Shares, model: str = "m") -> Change:
    return Change(WHEN, "anna@host", command, model, "b", before, after, "sha256:12")


def write(file: Path, *changes: Change) -> None:
    for each in changes:
        with appending(file) as append:
            append(each)


def test_a_line_has_all_that_an_auditor_asks(file: Path) -> None:
    zone = timezone(timedelta(hours=2))
    write(
        file,
        Change(WHEN.astimezone(zone), "anna", "canary", "m", "b", {"a": 100.0, "c": "shadow"}, {"a": 97.5, "b": 2.5}),
    )
    assert json.loads(file.read_text()) == {
        "when": "2026-12-01T10:30:00Z",
        "who": "anna",
        "command": "canary",
        "model": "m",
        "version": "b",
        "from": {"a": 100, "c": "shadow"},
        "to": {"a": 97.5, "b": 2.5},
        "checksum": None,
    }
    assert '"a": 100,' in file.read_text()


def test_what_is_written_is_read_again(file: Path) -> None:
    changes = [change("add", {}, A), change("canary", A, AB), change("promote", {"é": "shadow", "a": 1.0}, B)]
    write(file, *changes)
    assert read_log(file) == changes
    assert file.read_text().count("\n") == 3


def test_the_log_lies_beside_the_file_that_a_symlink_leads_to(tmp_path: Path) -> None:
    assert audit_file(tmp_path / "models.yaml") == tmp_path / "models.audit.jsonl"
    (tmp_path / "link").symlink_to("data/my.models.yml")
    assert audit_file(tmp_path / "link") == tmp_path / "data" / "my.models.audit.jsonl"


def test_a_log_that_is_not_there_is_empty(file: Path) -> None:
    assert read_log(file) == []


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        "{}",
        "[" * 100_000,
        '{"when": "2026-12-01T10:30:00Z"}',
        json.dumps(change("add", {}, A).render() | {"who": 1}),
        json.dumps(change("add", {}, A).render() | {"checksum": 1}),
        json.dumps(change("add", {}, A).render() | {"when": "yesterday"}),
        json.dumps(change("add", {}, A).render() | {"from": None}),
        json.dumps(change("add", {}, A).render() | {"to": {"a": "much"}}),
    ],
)
def test_a_line_that_is_not_of_an_audit_log_is_named(file: Path, line: str) -> None:
    write(file, change("add", {}, A))
    file.write_text(file.read_text() + "\n" + line + "\n")
    with pytest.raises(ModelsFileError, match=f"^{file}, line 3: not a line of an audit log") as caught:
        read_log(file)
    assert caught.value.line == 3


def test_a_time_without_a_zone_is_in_utc(file: Path) -> None:
    file.write_text(json.dumps(change("add", {}, A).render() | {"when": "2026-12-01T10:30:00"}))
    assert read_log(file)[0].when == WHEN


def test_a_log_that_cannot_be_read_or_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelsFileError, match=f"^{tmp_path}: Is a directory$"):
        read_log(tmp_path)
    with pytest.raises(ModelsFileError, match="the audit log cannot be written, so nothing is changed: Is a"):
        write(tmp_path, change("add", {}, A))


def test_a_full_disk_leaves_no_part_of_a_line(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(file, change("add", {}, A))
    before, real = file.read_bytes(), os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:5]))
    with pytest.raises(ModelsFileError, match="No space left on device"):
        write(file, change("canary", A, AB))
    assert file.read_bytes() == before


ADD = change("add", {}, {"a": 100.0})
ADD_B = change("add", {"a": 100.0}, A)
CANARY = change("canary", A, AB)
PROMOTE = change("promote", AB, B)


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ([], None),
        ([ADD], None),
        ([ADD, ADD_B], None),
        ([ADD, ADD_B, CANARY], A),
        ([CANARY, PROMOTE], AB),
        ([CANARY, PROMOTE, change("rollback", B, AB)], A),
        ([CANARY, PROMOTE, change("rollback", B, AB), change("rollback", AB, A)], None),
        ([CANARY, PROMOTE, change("rollback", B, AB), change("promote", AB, {"a": 100.0})], AB),
        ([PROMOTE, change("shadow", B, {"a": "shadow", "b": 100.0})], AB),
        ([PROMOTE, change("remove", B, {"b": 100.0})], AB),
        ([change("add", {"a": 100.0}, AB)], {"a": 100.0}),
        ([PROMOTE, change("remove", B, {})], None),
        ([PROMOTE, change("remove", B, {}), ADD], None),
        ([CANARY, change("promote", AB, B, model="other")], A),
        ([change("rollback", B, A)], None),
    ],
)
def test_a_rollback_leads_before_the_last_change_that_moved_callers(
    changes: list[Change], state: Shares | None
) -> None:
    assert previous(changes, "m") == state
