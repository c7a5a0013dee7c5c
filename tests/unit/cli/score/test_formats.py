"""Every format in and out: each row of the input is a row of the output, in its order, with all of its columns."""

import csv
import gzip
import io
import json
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.command import last_line, read_csv, read_jsonl, score, standard_input

ROWS = [
    ["1", "so good", "a"],
    ["2", 'bad, "really"\nbad', ""],
    ["3", "", "x\ry"],
    ["4", "like it 😀\r\nmuch", "\0"],
    ["5", "   ", '"'],
    ["6", "so good", "the same text again"],
]
LABELS = ["positive", "negative", "", "positive", "", "positive"]
ADDED = ["label", "confidence", "scores", "truncated", "error"]


def write_csv(file: Path, rows: list[list[str]] = ROWS, encoding: str = "utf-8", **options: Any) -> Path:
    text = io.StringIO()
    csv.writer(text, **options).writerows([["id", "body", "note"], *rows])
    file.write_bytes(text.getvalue().encode(encoding))
    return file


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_csv_keeps_every_cell(tmp_path: Path, end: str) -> None:
    source = write_csv(tmp_path / "in.csv", lineterminator=end, quoting=csv.QUOTE_ALL)
    assert score(source, "-c", "body", "-o", tmp_path / "out.csv") == 3  # two texts are blank
    header, *rows = read_csv(tmp_path / "out.csv")
    assert header == ["id", "body", "note", *ADDED]
    assert [row[:3] for row in rows] == ROWS
    assert [row[3] for row in rows] == LABELS
    assert json.loads(rows[0][5])["positive"] == float(rows[0][4])
    assert [bool(row[7]) for row in rows] == [not label for label in LABELS]
    assert [path.name for path in tmp_path.iterdir()].count("out.csv.part") == 0


def test_tsv_keeps_every_cell(tmp_path: Path) -> None:
    source = write_csv(tmp_path / "in.tsv", delimiter="\t")
    assert score(source, "-c", "2", "-o", tmp_path / "out.tsv") == 3
    assert [row[:4] for row in read_csv(tmp_path / "out.tsv", delimiter="\t")[1:]] == [
        [*row, label] for row, label in zip(ROWS, LABELS, strict=True)
    ]


def test_quotes_can_be_ordinary_characters(tmp_path: Path) -> None:
    (tmp_path / "in.tsv").write_text('text\tn\n"good\t1\n"bad" he said\t2\n')
    assert score(tmp_path / "in.tsv", "-o", tmp_path / "no.tsv") == 1
    assert score(tmp_path / "in.tsv", "--no-quotes", "-o", tmp_path / "out.tsv") == 0
    lines = [line.split("\t") for line in (tmp_path / "out.tsv").read_text().splitlines()[1:]]
    assert [line[:3] for line in lines] == [['"good', "1", "positive"], ['"bad" he said', "2", "negative"]]


def test_json_stays_as_it_was_written(tmp_path: Path) -> None:
    lines = [
        '{"n": 1.50, "big": 123456789012345678901234567890, "body": "good", "deep": {"a": [1, {"b": null}]}}',
        '{"body":"bad","e":"\\u00e9\\n"}',
        '  { "body" : null }  ',
        '{"body": 5}',
    ]
    source = tmp_path / "in.jsonl"
    source.write_text("\n".join(["", *lines, " ", ""]))
    assert score(source, "-c", "body", "-o", tmp_path / "out.jsonl") == 3
    shown = (tmp_path / "out.jsonl").read_text().splitlines()
    for given, line in zip(lines, shown, strict=True):
        assert line.startswith("{" + given.strip()[1:-1].strip() + ", ")
    results = read_jsonl(tmp_path / "out.jsonl")
    assert [row["label"] for row in results] == ["positive", "negative", None, None]
    assert results[3]["error"] == "body is not a string"
    assert list(results[0])[-5:] == ADDED


def test_json_to_csv_has_a_column_for_every_field(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = '{"text": "good", "n": 1}\n{"text": "bad", "tags": ["a"]}\n'
    (tmp_path / "in.jsonl").write_text(content)
    assert score(tmp_path / "in.jsonl", "-o", tmp_path / "out.csv") == 0
    rows = read_csv(tmp_path / "out.csv")
    assert rows[0][:4] == ["text", "n", "tags", "label"]
    assert [row[:4] for row in rows[1:]] == [["good", "1", "", "positive"], ["bad", "", '["a"]', "negative"]]


def test_each_line_of_a_text_is_a_row(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_bytes(b"good\r\n\nbad\rbad")
    assert score(tmp_path / "in.txt", "-o", tmp_path / "out.jsonl") == 3
    rows = read_jsonl(tmp_path / "out.jsonl")
    assert [(row["text"], row["label"]) for row in rows] == [("good", "positive"), ("", None), ("bad\rbad", "negative")]


def test_parquet_keeps_columns_and_their_types(tmp_path: Path) -> None:
    table = pa.table(
        {
            "id": pa.array([1, 2, None], pa.int32()),
            "body": pa.array(["good", None, "bad"]),
            "when": pa.array([0, 1, 2], pa.timestamp("ns", "UTC")),
            "deep": pa.array([{"a": [1]}, None, {"a": []}]),
            "kind": pa.array(["x", "y", "x"]).dictionary_encode(),
        }
    )
    pq.write_table(table, tmp_path / "in.parquet")
    assert score(tmp_path / "in.parquet", "-c", "body", "-o", tmp_path / "out.parquet") == 3
    out = pq.read_table(tmp_path / "out.parquet")
    assert out.select(["id", "body", "when", "deep"]).equals(table.select(["id", "body", "when", "deep"]))
    assert out.column("kind").to_pylist() == ["x", "y", "x"]
    assert out.column("label").to_pylist() == ["positive", None, "negative"]
    assert out.column("scores")[0].as_py()["positive"] == out.column("confidence")[0].as_py()
    assert out.column("error").to_pylist() == [None, "the text has no visible character", None]
    assert score(tmp_path / "in.parquet", "-c", "body", "-o", tmp_path / "out.jsonl") == 3
    assert read_jsonl(tmp_path / "out.jsonl")[0]["when"].startswith("1970-01-01T00:00:00")
    assert score(tmp_path / "in.parquet", "-c", "body", "-o", tmp_path / "out.csv") == 3
    assert read_csv(tmp_path / "out.csv")[1][3] == '{"a": [1]}'


def test_csv_to_parquet_and_back_keeps_every_cell(tmp_path: Path) -> None:
    source = write_csv(tmp_path / "in.csv")
    assert score(source, "-c", "body", "-o", tmp_path / "a.parquet") == 3
    assert score(tmp_path / "a.parquet", "-c", "body", "--prefix", "b_", "-o", tmp_path / "b.csv") == 3
    header, *rows = read_csv(tmp_path / "b.csv")
    assert header == ["id", "body", "note", *ADDED, *(f"b_{name}" for name in ADDED)]
    assert [row[:3] for row in rows] == ROWS
    assert all(row[3:5] == row[8:10] for row in rows)


def test_gzip_is_read_and_written(tmp_path: Path) -> None:
    source = write_csv(tmp_path / "plain.csv")
    (tmp_path / "in.csv.gz").write_bytes(gzip.compress(source.read_bytes()))
    assert score(tmp_path / "in.csv.gz", "-c", "body", "-o", tmp_path / "out.csv.gz") == 3
    (tmp_path / "out.csv").write_bytes(gzip.decompress((tmp_path / "out.csv.gz").read_bytes()))
    assert [row[:3] for row in read_csv(tmp_path / "out.csv")[1:]] == ROWS


def test_a_damaged_gzip_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in.txt.gz").write_bytes(gzip.compress(b"good\n" * 10_000)[:-20])
    assert score(tmp_path / "in.txt.gz", "-o", tmp_path / "out.jsonl") == 1
    assert "in.txt.gz, line" in last_line(capsys)
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize(
    ("encoding", "flags"),
    [
        ("utf-8-sig", []),
        ("utf-16", []),
        ("utf-32", []),
        ("utf-8-sig", ["--encoding", "utf-8"]),
        ("utf-16-le", ["--encoding", "utf-16-le"]),
        ("latin-1", ["--encoding", "latin-1"]),
        ("cp1252", ["--encoding", "cp1252"]),
    ],
)
def test_encodings(tmp_path: Path, encoding: str, flags: list[str]) -> None:
    rows = [["1", "très good", "\n"], ["2", "bad", "é"]]
    source = write_csv(tmp_path / "in.csv", rows, encoding)
    assert score(source, "-c", "body", "-o", tmp_path / "out.csv", *flags) == 0
    header, *shown = read_csv(tmp_path / "out.csv")
    assert header[0] == "id"
    assert [row[:3] for row in shown] == rows


def test_standard_input_and_output(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", standard_input(b"text;n\ngood;1\nbad;2\n"))
    assert score("--input-format", "csv", "--delimiter", ";", "-q") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "text;n;label;confidence;scores;truncated;error"
    assert [line.split(";")[2] for line in lines[1:]] == ["positive", "negative"]


def test_piped_json_has_the_columns_of_its_first_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = b'{"text": "good", "n": 1}\n' * 2048
    monkeypatch.setattr(sys, "stdin", standard_input(first + b'{"text": "bad", "new": 1}\n'))
    assert score("--input-format", "jsonl", "-o", tmp_path / "out.csv") == 1
    assert "line 2049: the field new is not in the first rows" in last_line(capsys)


def test_without_a_header_columns_have_numbers(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("1,good\n2,bad\n")
    assert score(tmp_path / "in.csv", "--no-header", "--text-column", "2", "-o", tmp_path / "out.csv") == 0
    assert [row[:3] for row in read_csv(tmp_path / "out.csv")] == [["1", "good", "positive"], ["2", "bad", "negative"]]
    assert score(tmp_path / "in.csv", "--no-header", "-c", "2", "-o", tmp_path / "out.jsonl") == 0
    assert read_jsonl(tmp_path / "out.jsonl")[0]["column_2"] == "good"


@pytest.mark.parametrize(
    ("name", "content", "output", "status", "shown"),
    [
        ("in.csv", "text,n\n", "out.csv", 0, "text,n,label,confidence,scores,truncated,error\n"),
        ("in.csv", "text,n", "out.jsonl", 0, ""),
        ("in.jsonl", "", "out.jsonl", 0, ""),
        ("in.txt", "", "out.csv", 0, "text,label,confidence,scores,truncated,error\n"),
        ("in.csv", "", "out.csv", 1, None),
    ],
)
def test_an_input_without_rows(
    tmp_path: Path, name: str, content: str, output: str, status: int, shown: str | None
) -> None:
    (tmp_path / name).write_text(content)
    assert score(tmp_path / name, "-o", tmp_path / output) == status
    assert (tmp_path / output).exists() == (shown is not None)
    assert shown is None or (tmp_path / output).read_text() == shown


def test_an_empty_parquet_file_stays_one(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("text,n\n")
    assert score(tmp_path / "in.csv", "-o", tmp_path / "out.parquet") == 0
    assert pq.read_table(tmp_path / "out.parquet").column_names == ["text", "n", *ADDED]


def test_a_blank_line_is_a_row_only_if_there_is_one_column(tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text("text\ngood\n\nbad\n")
    (tmp_path / "two.csv").write_text("text,n\ngood,1\n\nbad,2\n\n")
    assert score(tmp_path / "one.csv", "-o", tmp_path / "1.csv") == 3
    assert score(tmp_path / "two.csv", "-o", tmp_path / "2.csv") == 0
    assert [row[0] for row in read_csv(tmp_path / "1.csv")[1:]] == ["good", "", "bad"]
    assert [row[0] for row in read_csv(tmp_path / "2.csv")[1:]] == ["good", "bad"]


def test_a_long_cell_is_truncated_for_the_model_only(tmp_path: Path) -> None:
    text = "good " * 100_000
    (tmp_path / "in.csv").write_text(f"text\n{text}\n")
    assert score(tmp_path / "in.csv", "-o", tmp_path / "out.jsonl") == 0
    (row,) = read_jsonl(tmp_path / "out.jsonl")
    assert (row["text"], row["truncated"]) == (text, True)
