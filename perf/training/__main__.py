"""`python -m perf.training`: train on sets with the one command, and compare with the best of a sweep.

The sets come from grammars (`sets.py`). Without --sets, they are the six that the choice was made on.

Each model is measured on an exam that neither the command nor the sweep sees. The best of the sweep is the best on the
exam, which is more than a person without the exam could find.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from perf.training.sets import OTHERS, SIX, Row, make_sets


def main() -> None:
    """Train, measure and print a table."""
    parser = argparse.ArgumentParser(prog="python -m perf.training", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/perf-training"), help="directory (%(default)s)")
    parser.add_argument("--sets", nargs="+", choices=SIX + OTHERS, default=SIX)
    parser.add_argument(
        "--seed", type=int, default=1, help="of the texts, and of the phrases that only the exam has (%(default)s)"
    )
    parser.add_argument("--trials", type=int, default=6, help="trials of each sweep; 0: none (%(default)s)")
    args = parser.parse_args()
    args.out /= f"seed-{args.seed}"
    args.out.mkdir(parents=True, exist_ok=True)
    print(f"{'set':11} {'rows':>5} {'labels':>6} {'macro F1':>9} {'best':>6} {'minutes':>8} {'peak MB':>8}", flush=True)
    for each in make_sets(args.seed, args.sets):
        train, exam = args.out / f"{each.name}.csv", args.out / f"{each.name}_exam.csv"
        _write(train, each.train)
        _write(exam, each.exam)
        began_s = time.monotonic()
        places = ["--runs", str(args.out / "runs")]
        models = args.out / "models"
        peak_mb = _run(args.out, each.name, "all", str(train), *places, "--models", str(models))
        minutes = (time.monotonic() - began_s) / 60
        report = args.out / f"{each.name}.json"
        _run(
            args.out,
            each.name,
            "evaluate",
            str(models / each.name),
            "--data",
            str(exam),
            "--backend",
            "onnx",
            "--json",
            str(report),
        )
        ours = next(iter(json.loads(report.read_text())[0]["sets"].values()))["macro_f1"]
        best = ours
        if args.trials:
            _run(args.out, each.name, "sweep", str(train), "--test", str(exam), "--trials", str(args.trials), *places)
            trials = json.loads((args.out / "runs" / f"{each.name}-sweep" / "sweep.json").read_text())
            best = max(trial["test_macro_f1"] for trial in trials)
        labels = len({label for _, label in each.train})
        figures = f"{100 * ours:9.1f} {100 * best:6.1f} {minutes:8.1f} {peak_mb:8}"
        print(f"{each.name:11} {len(each.train):5} {labels:6} {figures}", flush=True)


def _write(file: Path, rows: list[Row]) -> None:
    with file.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("text", "label"), *rows])


def _run(out: Path, name: str, *arguments: str) -> int:
    """Run a step of the training with its output in a log; return its peak memory in MB."""
    with (out / f"{name}.log").open("a") as log:
        process = subprocess.Popen([sys.executable, "-m", "training", *arguments], stdout=log, stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{name}: {arguments[0]} failed; see {out / name}.log")
    return usage.ru_maxrss // 1024


if __name__ == "__main__":
    main()
