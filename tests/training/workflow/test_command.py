"""The flags of the one command."""

import re

import pytest

from training.__main__ import main


def help_of(flag: str, capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as stopped:
        main(["all", flag])
    assert stopped.value.code == 0
    return capsys.readouterr().out


def test_the_first_page_of_help_has_five_flags(capsys: pytest.CaptureFixture[str]) -> None:
    flags = re.findall(r"^  (--[a-z-]+|-h, --help)", help_of("--help", capsys), flags=re.MULTILINE)
    assert flags == ["-h, --help", "--help-all", "--name", "--dev", "--preset", "--text-column", "--label-column"]


def test_all_flags_have_a_sentence(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    shown = help_of("--help-all", capsys)
    flags = re.findall(r"^  (--[a-z-]+)[^\n]*?(?:  |\n +)([a-zA-Z][^\n]+)$", shown, flags=re.MULTILINE)
    names = [name for name, _ in flags]
    assert {"--start", "--epochs", "--class-weights", "--patience", "--keep-labels", "--map", "--no-export"} <= {*names}
    assert len(names) > 25
    assert all(len(text) > 10 for _, text in flags)


def test_errors_begin_with_the_name_of_the_command() -> None:
    with pytest.raises(SystemExit, match=r"^rt-sentiment train: nothing\.csv: no such file"):
        main(["all", "nothing.csv"])
