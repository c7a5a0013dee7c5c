"""`make resume`: score a large CSV file, kill the process at random rows, resume it, and compare every row.

Cells have quotes, line breaks, emoji, separators and nothing at all. The result must be, byte for byte, that of a run
that was not killed, and every input column must be as it was.
"""

import argparse
import csv
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

from tests.support.process import ROOT, clean_environment

_PARTS = [
    "good",
    "bad",
    "terrible 😀",
    'he said "nice"',
    "a,b;c",
    "line\nbreak",
    "line\r\nbreak",
    "",
    " ",
    "\t",
    "é",
    "'",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--formats", nargs="+", default=["csv", "jsonl", "parquet", "csv.gz"])
    parser.add_argument("--seed", type=int, default=11)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "in.csv"
        with source.open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows(rows_of(args.rows, rng))
        for name in args.formats:
            whole, resumed = Path(folder) / f"whole.{name}", Path(folder) / f"resumed.{name}"
            _run(source, whole)
            for number in range(args.kills):
                _run(source, resumed, kill_after_rows=int((number + rng.uniform(0.2, 0.6)) * args.rows / args.kills))
            _run(source, resumed)
            if whole.read_bytes() != resumed.read_bytes():
                sys.exit(f"{name}: the resumed output differs")
            if name == "csv":
                _compare(source, resumed, args.rows)
            print(f"{name}: {args.rows:,} rows, the same after {args.kills} kills", flush=True)


def rows_of(number: int, rng: random.Random) -> Iterator[list[str]]:
    yield ["id", "body", "note"]
    for row in range(number):
        yield [str(row), " ".join(rng.choices(_PARTS, k=rng.randint(0, 4))), rng.choice(_PARTS)]


def _run(source: Path, out: Path, kill_after_rows: int | None = None) -> None:
    """Run `score --resume`; with `kill_after_rows`, kill it as soon as more rows than that are safe."""
    command = [sys.executable, "-m", "app", "score", source, "-c", "body", "-o", out, "--resume", "--quiet"]
    # With a delay, it saves its state several times.
    with subprocess.Popen(command, cwd=ROOT, env=clean_environment(backend="mock", mock_delay_ms="3")) as process:
        if kill_after_rows is None:
            if process.wait() not in (0, 3):  # some cells are blank
                sys.exit(f"{out.name}: exit status {process.returncode}")
            return
        state, rows = out.with_name(f"{out.name}.part.json"), 0
        while rows <= kill_after_rows:
            if process.poll() is not None:
                sys.exit(f"{out.name}: exit status {process.returncode}, before it could be killed")
            time.sleep(0.01)
            rows = json.loads(state.read_text())["rows"] if state.exists() else 0
        process.send_signal(signal.SIGKILL)
    print(f"{out.name}: killed after {rows:,} rows", flush=True)


def _compare(source: Path, out: Path, rows: int) -> None:
    with source.open(newline="", encoding="utf-8") as given, out.open(newline="", encoding="utf-8") as scored:
        number = -1
        for number, (before, after) in enumerate(zip_longest(csv.reader(given), csv.reader(scored)), -1):
            if before != after[:3] or (number >= 0 and bool(after[3]) == bool(after[7])):
                sys.exit(f"row {number} differs")
    if number + 1 != rows:
        sys.exit(f"{number + 1} rows instead of {rows}")


if __name__ == "__main__":
    main()
