"""Files that are as they were, or complete."""

from pathlib import Path

import pytest

from training.errors import InputError
from training.files import making, replace


def test_a_file_has_its_name_when_it_is_complete(tmp_path: Path) -> None:
    with making(tmp_path / "file.jsonl") as part:
        part.write_text("all of it")
        assert not (tmp_path / "file.jsonl").exists()
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("file.jsonl", "all of it")]


def test_one_that_could_not_be_completed_never_has_its_name(tmp_path: Path) -> None:
    def begin() -> None:
        with making(tmp_path / "file.jsonl") as part:
            part.write_text("half of it")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        begin()
    assert [file.name for file in tmp_path.iterdir()] == ["file.jsonl.part"]


def test_what_is_there_is_not_made_again(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="exists; name another"), making(tmp_path):
        pytest.fail("it was begun")


def test_a_file_is_replaced_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "run.json"
    replace(file, "old")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", lambda self, text, **_: self.write_bytes(text[:1].encode()) and 1 / 0)
        with pytest.raises(ZeroDivisionError):  # as a crash in the middle of it
            replace(file, "new")
    assert file.read_text() == "old"
