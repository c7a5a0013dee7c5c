"""`python -m perf.memory`: memory of the service over a million requests with different texts of random lengths.

The resident memory is read once per second. The second half of the run counts: its end may not differ from its start by
more than two percent. Ctrl-C ends the run early and reports what was measured so far.
"""

import argparse
import json
import math
import random
import statistics
import sys
import tempfile
import threading
from pathlib import Path

from tqdm import tqdm

from perf.load.metrics import scrape
from perf.load.server import running
from perf.load.texts import sentences
from perf.load.wrk import require_wrk, run_wrk, write_bodies

_TEXTS_PER_FILE = 40_000
# Text lengths are roughly log-normal: half of the texts have more than 15 words, one in six more than 40, four in a
# thousand more than 200. The longest have about as many tokens as the model reads.
_MEDIAN_WORDS, _SIGMA, _MAX_WORDS = 15, 1.0, 400
_MAX_CHANGE = 0.02


def main() -> None:
    """Measure, print and plot; exit with 1 if the memory changes too much."""
    parser = argparse.ArgumentParser(prog="python -m perf.memory", description=__doc__)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--out", type=Path, help="directory for memory.json and memory.png")
    args = parser.parse_args()
    require_wrk()
    samples: list[tuple[float, float]] = []  # requests so far, resident memory in MB
    requests, stop = 0, threading.Event()
    with running([sys.executable, "-m", "app", "serve", "--port"]) as address, tempfile.TemporaryDirectory() as folder:
        watcher = threading.Thread(target=_watch, args=(address, samples, stop))
        watcher.start()
        bar = tqdm(total=args.requests, unit="request", disable=None)
        try:
            for seed in range(10**9):
                bodies = write_bodies(Path(folder) / "bodies", ({"text": text} for text in _texts(seed)))
                figures = run_wrk(address, bodies, args.connections, seconds=20)
                if figures["failed"]:
                    sys.exit(f"{figures['failed']:.0f} requests failed")
                if not watcher.is_alive():
                    sys.exit("the metrics of the service could not be read")
                requests += int(figures["requests"])
                bar.update(int(figures["requests"]))
                if requests >= args.requests:
                    break
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
        finally:
            stop.set()
            watcher.join()
    half = samples[len(samples) // 2 :]
    first, last = (
        statistics.median(mb for _, mb in part) for part in (half[: len(half) // 4], half[-len(half) // 4 :])
    )
    change = last / first - 1
    print(f"{requests} requests: {samples[0][1]:.0f} MB at the start, {first:.0f} halfway, {last:.0f} at the end")
    print(f"change over the second half: {change:+.1%}")
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "memory.json").write_text(json.dumps(samples) + "\n")
        _draw(samples, args.out / "memory.png")
    if abs(change) > _MAX_CHANGE:
        sys.exit(f"memory changed by more than {_MAX_CHANGE:.0%}")


def _texts(seed: int) -> list[str]:
    rng = random.Random(seed)
    words = " ".join(sentences(_TEXTS_PER_FILE, seed=seed)).split()
    texts = []
    for number in range(_TEXTS_PER_FILE):
        length = min(_MAX_WORDS, max(1, round(rng.lognormvariate(math.log(_MEDIAN_WORDS), _SIGMA))))
        start = rng.randrange(len(words) - length)
        texts.append(f"{seed} {number} {' '.join(words[start : start + length])}")
    return texts


def _watch(address: str, samples: list[tuple[float, float]], stop: threading.Event) -> None:
    while not stop.wait(1):
        metrics = scrape(address)
        samples.append((metrics["http_requests_total"], metrics["process_resident_memory_bytes"] / 1e6))


def _draw(samples: list[tuple[float, float]], file: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
    axes.plot(*zip(*samples, strict=True))
    axes.set(xlabel="requests", ylabel="resident memory, MB", ylim=(0, 1.2 * max(mb for _, mb in samples)))
    figure.savefig(file, dpi=120)


if __name__ == "__main__":
    main()
