"""A file is complete or unchanged."""

from pathlib import Path

import pytest

from training.errors import InputError
from training.files import atomic_output, replace


def test_a_file_gets_its_name_when_it_is_complete(tmp_path: Path) -> None:
    with atomic_output(tmp_path / "file.jsonl") as part:
        part.write_text("all of it")
        assert not (tmp_path / "file.jsonl").exists()
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("file.jsonl", "all of it")]


def test_an_incomplete_file_never_gets_its_name(tmp_path: Path) -> None:
    def begin() -> None:
        with atomic_output(tmp_path / "file.jsonl") as part:
            part.write_text("half of it")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        begin()
    assert [file.name for file in tmp_path.iterdir()] == ["file.jsonl.part"]


def test_an_existing_path_is_not_overwritten(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="already exists; choose another name"), atomic_output(tmp_path):
        pytest.fail("the block must not run")


def test_a_file_is_replaced_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "run.json"
    replace(file, "old")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", lambda self, text, **_: self.write_bytes(text[:1].encode()) and 1 / 0)
        with pytest.raises(ZeroDivisionError):  # a crash in the middle of the write
            replace(file, "new")
    assert file.read_text() == "old"
