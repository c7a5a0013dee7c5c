"""A part of a result gives back its rows and results, so that a job's output equals that of `score`."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.cli.score.output import Output
from app.cli.score.run import Options, run
from app.inference import Model, load_model
from app.tables import (
    ADDED,
    Columns,
    ModelScorer,
    Source,
    Window,
    converter_for,
    decode_part,
    encode_part,
    encoder_for,
    open_reader,
    scan,
    score_windows,
    source_of,
    stream_rows,
)

CSV = 'id,text\n1,good\n2,"bad, ""really""\nyes"\n3,\n4,"é😀\u2028"\n'
JSONL = '{"text": "good",  "n": 1.50, "x": null}\n{"n": {"a": [1]}, "text": "bad \\ud83d\\ude00"}\n\n{"text": ""}\n'


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model(backend="mock")


def parquet(file: Path) -> None:
    table = pa.table(
        {
            "text": ["good", None, "bad", ""],
            "when": pa.array([1_700_000_000, None, 0, None], pa.timestamp("s", "UTC")),
            "kind": pa.array(["a", "b", "a", None]).dictionary_encode(),
            "n": pa.array([1, 2, None, 4], pa.int8()),
        },
        metadata={"made": "by a test"},
    )
    pq.write_table(table, file)


def through_parts(source: Source, columns: Columns, model: Model, target: str) -> bytes:
    """The bytes of a result that went through parts of two rows each."""
    scorer = ModelScorer(model, "truncate")
    names = scan(source, columns).names or []
    with open_reader(source, columns) as reader:
        windows = score_windows(reader.windows(Window(rows=2)), scorer)
        parts = [encode_part(rows, results, names, scorer.labels) for rows, results in windows]
    decoded = [decode_part(part, source, names) for part in parts]
    encoder = encoder_for(target, source, names, columns.added, scorer.labels, schema=decoded[0][0].schema)
    return b"".join(stream_rows(encoder, iter(decoded)))


def by_score(source: Source, columns: Columns, model: Model, target: str, out: Path) -> bytes:
    options = Options(columns, target, bytes, "truncate", resume=False, as_json=False, quiet=True)
    run(source, options, Output(out, converter_for(target)), lambda: ModelScorer(model, "truncate"))
    return out.read_bytes()


@pytest.mark.parametrize("target", ["csv", "tsv", "jsonl", "parquet"])
@pytest.mark.parametrize("name", ["in.csv", "in.csv.gz", "in.jsonl", "in.txt", "in.parquet"])
def test_a_result_is_what_score_writes(tmp_path: Path, model: Model, name: str, target: str) -> None:
    file = tmp_path / name
    if name.endswith(".parquet"):
        parquet(file)
    elif name.endswith(".gz"):
        file.write_bytes(gzip.compress(CSV.encode()))
    else:
        file.write_text({".csv": CSV, ".jsonl": JSONL, ".txt": "good\nbad\n\n"}[file.suffix])
    source, columns = source_of(str(file), None, "", ""), Columns("text", False, ADDED)
    expected = by_score(source, columns, model, target, tmp_path / f"out.{target}")
    got = through_parts(source, columns, model, target)
    if target == "parquet":
        (tmp_path / "got.parquet").write_bytes(got)
        first, second = pq.read_table(tmp_path / "out.parquet"), pq.read_table(tmp_path / "got.parquet")
        assert first.schema.equals(second.schema, check_metadata=True)
        assert first.equals(second)
    else:
        assert got == expected


def test_columns_of_one_name_stay_columns(tmp_path: Path, model: Model) -> None:
    (tmp_path / "in.csv").write_text("a,a,text\n1,2,good\n")
    source = source_of(str(tmp_path / "in.csv"), None, "", "")
    got = through_parts(source, Columns("text", False, ADDED), model, "csv").decode()
    assert got.splitlines()[1].startswith("1,2,good,positive")


def test_a_bad_row_that_is_kept_keeps_its_error(tmp_path: Path, model: Model) -> None:
    (tmp_path / "in.jsonl").write_bytes(b'{"text": "good"}\n{"te\xff\n')
    source = source_of(str(tmp_path / "in.jsonl"), None, "", "")
    lines = through_parts(source, Columns("text", True, ADDED), model, "jsonl").decode().splitlines()
    bad = json.loads(lines[1])
    assert bad["error"].startswith("line 2:")
    assert bad["text"] == '{"te\\xff'


def test_a_row_group_of_long_rows_fits_into_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    from app.tables import parquet

    monkeypatch.setattr(parquet, "_ROW_GROUP_BYTES", 1000)
    batch = pa.RecordBatch.from_pydict({"text": ["x" * 400]})
    assert [len(table) for table in parquet._row_groups([batch] * 7)] == [3, 3, 1]


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
def test_rows_with_long_other_columns_are_in_small_windows(tmp_path: Path, name: str) -> None:
    values = [f"{number:04d}" * 500 for number in range(100)]  # 2000 characters
    if name == "a.csv":
        (tmp_path / name).write_text("text,b\n" + "".join(f"a,{value}\n" for value in values))
    elif name == "a.jsonl":
        (tmp_path / name).write_text("".join(json.dumps({"text": "a", "b": value}) + "\n" for value in values))
    else:
        pq.write_table(pa.table({"text": ["a"] * 100, "b": values}), tmp_path / name)
    source = source_of(str(tmp_path / name), None, "", "")
    with open_reader(source, Columns()) as reader:
        sizes = [len(rows) for rows in reader.windows(Window(all_chars=10_000))]
    assert sum(sizes) == 100
    assert max(sizes) <= 6
