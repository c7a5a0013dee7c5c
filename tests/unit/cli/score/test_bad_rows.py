"""What cannot be read is named with its line, and nothing is lost."""

import builtins
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import last_line, read_csv, read_jsonl, score, standard_input


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("in.csv", b'text,n\ngood,1\n"a\nb",2\nbad\nx,1\n', "line 5: 1 cells instead of 2"),
        ("in.csv", b"text,n\ngood,1,2,3\n", "line 2: 4 cells instead of 2"),
        ("in.csv", b'text,n\n"good" or,1\n', "line 2: text after a closing quote"),
        ("in.csv", b'text,n\ngood,1\n"never closed,2\nx,3\n', "line 3: a quote is not closed"),
        ("in.csv", b"text,n\nok,1\n\xe9t\xe9,2\n", "line 3: not valid UTF-8; use --encoding"),
        ("in.csv", b"t\xe9xt,n\n", "line 1: not valid UTF-8"),
        ("in.txt", b"ok\n\n\xff\n", "line 3: not valid UTF-8"),
        ("in.jsonl", b'{"text": "a"}\n\n{"text": "b"\n', "line 3: not JSON"),
        ("in.jsonl", b'{"text": "a"}\n["text"]\n', "line 2: not a JSON object"),
        ("in.jsonl", b'{"body": "a"}\n', "line 1: no field text; its fields are body"),
        ("in.jsonl", b'{"text": "a", "label": 1}\n', "line 1: it already has the field label"),
        ("in.jsonl", b"[" * 100_000, "line 1: not JSON"),
    ],
)
def test_a_bad_row_is_named_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    assert score(tmp_path / name, "-o", tmp_path / "out.jsonl") == 1
    assert message in last_line(capsys)
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_bad_rows_are_kept_with_their_error(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_bytes(b'n,text\n1,good\n2,bad, really\n3\n4,"x"y,z\n5,\xe9\n6,bad\n')
    assert score(tmp_path / "in.csv", "-c", "text", "--on-bad-row", "keep", "-o", tmp_path / "out.csv") == 3
    rows = read_csv(tmp_path / "out.csv")[1:]
    assert [row[:3] for row in rows] == [
        ["1", "good", "positive"],
        ["2", "bad, really", ""],
        ["3", "", ""],
        ["", '4,"x"y,z', ""],
        ["5", "\\xe9", ""],
        ["6", "bad", "negative"],
    ]
    assert [row[6] for row in rows] == [
        "",
        "line 3: 3 cells instead of 2",
        "line 4: 1 cells instead of 2",
        "line 5: text after a closing quote",
        "line 6: not valid UTF-8",
        "",
    ]


def test_bad_lines_of_json_are_kept_as_their_text(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"body": "good"}\noops "x"\n[1]\n')
    assert score(tmp_path / "in.jsonl", "-c", "body", "--on-bad-row", "keep", "-o", tmp_path / "out.jsonl") == 3
    rows = read_jsonl(tmp_path / "out.jsonl")
    assert [row["body"] for row in rows] == ["good", 'oops "x"', "[1]"]
    assert [row["error"] for row in rows] == [None, "line 2: not JSON", "line 3: not a JSON object"]


def test_a_bad_row_of_a_pipe_leaves_what_was_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.jsonl"
    flags = ("--input-format", "csv", "-o", out)
    monkeypatch.setattr(sys, "stdin", standard_input(b"text,n\n" + b"good,1\n" * 5_000 + b"bad\n"))
    assert score(*flags) == 1
    assert "standard input, line 5002: 1 cells" in last_line(capsys)
    assert not out.exists()
    monkeypatch.setattr(sys, "stdin", standard_input(b"text,n\n" + b"good,1\n" * 5_000 + b"bad,2\n"))
    assert score(*flags, "--resume") == 0
    assert [row["n"] for row in read_jsonl(out)] == ["1"] * 5_000 + ["2"]


@pytest.mark.parametrize(
    ("content", "flags", "message"),
    [
        ("a,b\n", ["-c", "body"], "no column body; its columns are a, b"),
        ("a;b\n", ["-c", "a"], "with another separator, use --delimiter"),
        ("a,b\n", [], "its columns are a, b; name the one with the text: --text-column"),
        ("text,text\n", ["-c", "text"], "text is the name of several columns"),
        ("a,b\n", ["-c", "3"], "no column 3"),
        ("t\0e\0x\0t\0,\0b\0\n\0", ["-c", "text"], "looks like UTF-16; use --encoding"),
        ("text,label\n", [], "already has the column label; name the new ones with --prefix"),
        ("text\n", ["--encoding", "utf-7000"], "utf-7000 is not known"),
        ("text\n", ["--delimiter", "::"], "expected one character"),
    ],
)
def test_a_wrong_column_or_flag_is_explained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, flags: list[str], message: str
) -> None:
    (tmp_path / "in.csv").write_text(content)
    assert score(tmp_path / "in.csv", "-o", tmp_path / "out.csv", *flags) == 2
    assert message in last_line(capsys)


@pytest.mark.parametrize(
    ("out", "message"), [(".", "it is not a file"), ("/dev/null", "it is not a file"), ("no/out.csv", "no such folder")]
)
def test_an_output_that_is_no_file_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, out: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in.csv").write_text("text\ngood\n")
    assert score("in.csv", "-o", out, "--output-format", "csv") == 2
    assert message in last_line(capsys)


@pytest.mark.parametrize(
    "flags",
    [
        ["in.csv", "--resume"],
        ["in.csv", "--json"],
        ["in.csv", "--output-format", "parquet"],
        ["in", "-o", "out.csv"],
        ["in.csv", "-o", "out.lines"],
        ["in.parquet.gz", "-o", "out.csv"],
        ["in.csv", "-o", "out.csv", "--connections", "0"],
    ],
)
def test_flags_that_make_no_sense_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in.csv").write_text("text\ngood\n")
    assert score(*flags) == 2
    assert [file.name for file in tmp_path.iterdir()] == ["in.csv"]


def test_columns_of_one_name_stay_columns_of_csv(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in.csv").write_text("a,a,text\n1,2,good\n")
    assert score(tmp_path / "in.csv", "-o", tmp_path / "out.csv") == 0
    assert read_csv(tmp_path / "out.csv")[1][:4] == ["1", "2", "good", "positive"]
    assert score(tmp_path / "in.csv", "-o", tmp_path / "out.jsonl") == 2
    assert "the column a is there twice" in last_line(capsys)


def test_a_text_that_the_model_fails_at_fails_alone(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("good\n[fail]\nbad\n[nan]\ngood\n")
    assert score(tmp_path / "in.txt", "-o", tmp_path / "out.jsonl") == 3
    rows = read_jsonl(tmp_path / "out.jsonl")
    assert [row["label"] for row in rows] == ["positive", None, "negative", None, "positive"]
    assert rows[1]["error"] == "the model failed on this text (RuntimeError)"


def test_a_model_that_fails_at_every_text_ends_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in.txt").write_text("".join(f"[fail] {number}\n" for number in range(40)))
    assert score(tmp_path / "in.txt", "-o", tmp_path / "out.jsonl") == 1
    assert "the model fails at every text" in last_line(capsys)


def test_the_text_is_in_no_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, content in (
        ("a.jsonl", '{"text": "secret'),
        ("b.csv", 'text\n"secret"x\n'),
        ("c.txt", "[fail] secret\n"),
    ):
        (tmp_path / name).write_text(content)
        assert score(tmp_path / name, "-o", tmp_path / f"{name}.csv", "--force") in (1, 3)
    assert "secret" not in capsys.readouterr().err


@pytest.mark.parametrize("flags", [["-o", "out.parquet"], ["--output-format", "parquet", "-o", "x"]])
def test_parquet_without_its_extra_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], flags: list[str]
) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **options: Any) -> Any:
        if name.startswith("pyarrow"):
            raise ModuleNotFoundError(name)
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.delitem(sys.modules, "app.tables.parquet", raising=False)
    monkeypatch.chdir(tmp_path)
    Path("in.txt").write_text("good\n")
    assert score("in.txt", *flags) == 1
    assert "pip install 'rt-sentiment[parquet]'" in last_line(capsys)
    assert score("in.txt", "-o", "out.csv") == 0
