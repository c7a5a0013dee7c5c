"""`python -m perf.profile.score_memory`: memory of `rt-sentiment score` over millions of rows, with the mock backend.

The rows are piped in, so that the disk is not filled. The second half of the run counts: its highest value may not be
more than five percent over that of the first half.
"""

import argparse
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from perf.load.server import ROOT
from perf.load.texts import sentences

_MAX_GROWTH = 0.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--format", choices=("csv", "jsonl", "parquet"), default="csv", help="of the output")
    args = parser.parse_args()
    block = "".join(f"{number},{text}\n" for number, text in enumerate(sentences(10_000))).encode()
    samples: list[tuple[int, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        out = Path("/dev/null") if args.format != "parquet" else Path(folder) / "out.parquet"
        target = ["--output-format", args.format] if args.format != "parquet" else ["-o", out]
        command = [
            sys.executable,
            "-m",
            "app",
            "score",
            "--backend",
            "mock",
            "--input-format",
            "csv",
            "-c",
            "text",
            "-q",
        ]
        with (
            Path("/dev/null").open("wb") as nothing,
            subprocess.Popen([*command, *target], cwd=ROOT, stdin=subprocess.PIPE, stdout=nothing) as process,
        ):
            assert process.stdin is not None
            sent, stop = [0], threading.Event()
            watcher = threading.Thread(target=_watch, args=(process.pid, lambda: sent[0], samples, stop))
            watcher.start()
            process.stdin.write(b"id,text\n")
            for start in range(0, args.rows, 10_000):
                process.stdin.write(block)
                sent[0] = start + 10_000
            process.stdin.close()
            process.wait()
            stop.set()
            watcher.join()
    if process.returncode:
        sys.exit(f"score ended with {process.returncode}")
    step = max(1, len(samples) // 20)
    for rows, mib in samples[::step]:
        print(f"{rows:12,} rows {mib:8.1f} MiB")
    middle = len(samples) // 2
    first, second = (max(mib for _, mib in half) for half in (samples[:middle], samples[middle:]))
    print(f"highest: {first:.1f} MiB in the first half, {second:.1f} MiB in the second")
    sys.exit(second > first * (1 + _MAX_GROWTH))


def _watch(process: int, rows: Callable[[], int], samples: list[tuple[int, float]], stop: threading.Event) -> None:
    status = Path(f"/proc/{process}/status")
    while not stop.wait(0.5):
        try:
            lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
            samples.append((rows(), int(lines["VmRSS"].split()[0]) / 1024))
        except (OSError, KeyError):  # it has ended
            return


if __name__ == "__main__":
    main()
