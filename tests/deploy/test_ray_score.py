"""`deploy.ray.score` in a real Ray on this machine: the same output as `rt-sentiment score`, whatever is killed."""

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.support.process import ROOT, clean_environment
from tests.support.ray import needs_ray, running
from tests.support.waiting import HANG_S, until

pytestmark = needs_ray

_TEXTS = ["a good film", "what a terrible day", "a table", "", "I love it\nso much", 'he said "bad"']


def _inputs(folder: Path) -> None:
    """Tables whose cells would change if they were read as numbers, and with rows that cannot be scored."""
    for name, rows in (("a.csv", 9000), ("b.csv", 30), ("empty.csv", 0)):
        with (folder / name).open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(["id", "body"])
            writer.writerows([f"00{row}", f"{_TEXTS[row % 6]} {row}" if row % 6 != 3 else ""] for row in range(rows))
    lines = [{"body": _TEXTS[row % 3], f"field {row % 2}": row} for row in range(50)]
    (folder / "c.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    table = pa.table({"id": pa.array(range(50), pa.int16()), "body": [_TEXTS[row % 3] for row in range(50)]})
    pq.write_table(table, folder / "d.parquet")


def _score_here(folder: Path, source: str, target: str) -> Path:
    out = folder / "here" / target
    out.parent.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "app", "score", str(folder / source), "-c", "body", "-o", str(out), "-q"]
    done = subprocess.run(command, cwd=ROOT, env=clean_environment(backend="mock"), check=False)
    assert done.returncode in (0, 3)
    return out


def test_a_killed_worker_changes_nothing_in_the_output(tmp_path: Path) -> None:
    _inputs(tmp_path)
    out = tmp_path / "out"
    arguments = [f"{tmp_path}/*.csv", "-c", "body", "-o", str(out)]
    log = tmp_path / "log"
    settings = {"backend": "mock", "mock_delay_ms": "20"}
    with running("deploy.ray.score", *arguments, "--actors", "2", log=log, **settings) as command:

        def scorer() -> list[int]:
            assert command.process.poll() is None, log.read_text()
            return command.processes("MapWorker") if [*out.glob(".rt-sentiment-*")] else []

        victim = until(scorer, on_timeout=log.read_text)[0]  # rows are being written
        os.kill(victim, signal.SIGKILL)
        assert command.process.wait(HANG_S) == 3, log.read_text()
    for name in ("a.csv", "b.csv", "empty.csv"):
        assert (out / name).read_bytes() == _score_here(tmp_path, name, name).read_bytes()
    assert not [*out.glob(".*")]


def test_columns_of_parquet_keep_their_types(tmp_path: Path) -> None:
    _inputs(tmp_path)
    arguments = [str(tmp_path / "d.parquet"), "-c", "body", "-o", str(tmp_path / "out"), "-q"]
    with running("deploy.ray.score", *arguments, log=tmp_path / "log", backend="mock") as command:
        assert command.process.wait(HANG_S) == 0, command.log.read_text()
    written, expected = tmp_path / "out" / "d.parquet", _score_here(tmp_path, "d.parquet", "d.parquet")
    assert written.read_bytes() == expected.read_bytes()
    assert pq.read_schema(written).field("id").type == pa.int16()


def test_a_bad_file_ends_the_run_and_those_before_it_are_kept(tmp_path: Path) -> None:
    _inputs(tmp_path)
    (tmp_path / "z.jsonl").write_text('{"body": "good"}\n{"body"\n')
    out = tmp_path / "out"
    arguments = [f"{tmp_path}/*.jsonl", "-c", "body", "-o", str(out), "--output-format", "csv"]
    with running("deploy.ray.score", *arguments, log=tmp_path / "log", backend="mock") as command:
        assert command.process.wait(HANG_S) == 1
    assert command.log.read_text().splitlines()[-1].startswith(f"score: {tmp_path}/z.jsonl, line 2")
    assert [file.name for file in out.iterdir()] == ["c.csv"]
    assert (out / "c.csv").read_bytes() == _score_here(tmp_path, "c.jsonl", "c.csv").read_bytes()
