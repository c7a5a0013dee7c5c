"""`python -m perf.profile.score`: how much of the bare model's speed `rt-sentiment score` reaches.

Reading, tokenising and writing take the rest. Both sides work on the same different sentences, in turn. The bare model
gets them tokenised, in the batches that suit it best. Wall-clock time counts; on a busy machine compare the processor
time.
"""

import argparse
import csv
import json
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from app.cpu import usable_cores
from perf.load.bare_model import BareModel, Ids
from perf.load.server import ROOT
from perf.load.texts import sentences

_BATCHES = (8, 16, 32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--format", choices=("csv", "parquet"), default="csv", help="of the output")
    args = parser.parse_args()
    texts = sentences(args.texts)
    bare = BareModel()
    ids = sorted(bare.encode(texts), key=len)
    best = max(_BATCHES, key=lambda size: _bare(bare, ids[:: max(1, len(ids) // 1500)], size)[0])
    ratios, cpu_ratios = [], []
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "in.csv"
        _write(source, texts[:1])
        start_cpu_s = _score(source, args.format, 0.0)[1] / 1000
        _write(source, texts)
        for number in range(args.rounds):
            sides = {"bare": lambda: _bare(bare, ids, best), "score": lambda: _score(source, args.format, start_cpu_s)}
            order = ["bare", "score"] if number % 2 == 0 else ["score", "bare"]
            figures = {name: sides[name]() for name in order}
            ratios.append(figures["score"][0] / figures["bare"][0])
            cpu_ratios.append(figures["bare"][1] / figures["score"][1])
            for name, (rate, cpu_ms) in figures.items():
                print(f"{name:6} {rate:7,.0f} texts/s  {cpu_ms:.3f} ms of processor time a text", flush=True)
    print(f"batches of {best}; score / bare: texts/s {_shown(ratios)}, processor time {_shown(cpu_ratios)}")


def _write(file: Path, texts: list[str]) -> None:
    with file.open("w", newline="") as stream:
        csv.writer(stream).writerows([("id", "text"), *enumerate(texts)])


def _bare(bare: BareModel, ids: list[Ids], size: int) -> tuple[float, float]:
    """Return texts per second, and milliseconds of processor time for each."""
    batches = [ids[start : start + size] for start in range(0, len(ids), size)]
    started_s, cpu_s = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(usable_cores()) as pool:
        list(pool.map(bare.run, batches))
    return len(ids) / (time.perf_counter() - started_s), (time.process_time() - cpu_s) * 1000 / len(ids)


def _score(source: Path, output_format: str, start_cpu_s: float) -> tuple[float, float]:
    """Return the same of `score`, without the processor time of its start."""
    out = source.with_name(f"out.{output_format}")
    command = [sys.executable, "-m", "app", "score", source, "-c", "text", "-o", out, "--force", "--json"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    figures = json.loads(done.stdout)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime - start_cpu_s
    return figures["rows_per_s"], cpu_s * 1000 / figures["rows"]


def _shown(values: list[float]) -> str:
    return f"{sorted(values)[len(values) // 2]:.3f} ({', '.join(f'{value:.3f}' for value in values)})"


if __name__ == "__main__":
    main()
