"""The flags of the one command."""

import re
from pathlib import Path

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


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--text-column", "body"], "no column body; the columns are review, stars"),
        (["--label-column", "body"], "no column body; the columns are review, stars"),
        (["--encoding", "utf-99"], "utf-99 is not known"),
        (["--name", "a/b"], "'a/b' cannot be the name of a model"),
        (["--dev-share", "3"], "must be between 0 and 1, not 3"),
        (["--exits", "--no-export"], "--exits needs the export, which --no-export leaves out"),
        (["--epochs", "0"], "epochs: Input should be greater than or equal to 1"),
    ],
)
def test_a_flag_that_cannot_be_used_ends_it_with_status_2(
    tmp_path: Path, flags: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "reviews.csv"
    table.write_text("review,stars\n" + "".join(f"review number {n},{n % 2}\n" for n in range(20)))
    with pytest.raises(SystemExit) as stopped:
        main(["all", str(table), *flags, "--runs", str(tmp_path / "runs")])
    assert stopped.value.code == 2
    shown = capsys.readouterr().err
    assert shown.startswith("rt-sentiment train: ")
    assert complaint in shown
    assert not (tmp_path / "runs").exists()
