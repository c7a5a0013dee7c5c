"""`python -m perf.memory`: memory over a million requests of random lengths, every text different.

The resident memory of the service is looked at once a second. What counts is the last half: it must neither be over
nor under the first of it by more than two percent. Ctrl-C ends it early, with what was seen by then.
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

from perf.load.server import direct, load, running, wrk_or_exit
from perf.load.texts import sentences

_BODIES = 40_000  # between one list of texts and the next
# Lengths are about log-normal, as those of what people write: half have over 15 words, one in six over 40, four in a
# thousand over 200. The longest have about as many tokens as the model reads.
_MEDIAN_WORDS, _SPREAD, _MOST_WORDS = 15, 1.0, 400
_FLAT = 0.02


def main() -> None:
    """Measure, print, draw; exit with 1 when the memory is not flat."""
    parser = argparse.ArgumentParser(prog="python -m perf.memory", description=__doc__)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--out", type=Path, help="write memory.json and memory.png into this directory")
    args = parser.parse_args()
    wrk_or_exit()
    samples: list[tuple[float, float]] = []  # requests so far, MB
    done, over = 0, threading.Event()
    with running([sys.executable, "-m", "app", "serve", "--port"]) as address, tempfile.TemporaryDirectory() as folder:
        watcher = threading.Thread(target=_watch, args=(address, samples, over))
        watcher.start()
        bar = tqdm(total=args.requests, unit="request", disable=None)
        try:
            for seed in range(10**9):
                file = Path(folder) / "bodies"
                file.write_text("".join(json.dumps({"text": text}) + "\n" for text in _texts(seed)))
                found = load(address, file, args.connections, seconds=20)
                if found["failed"] or not watcher.is_alive():
                    sys.exit(f"{found['failed']:.0f} requests failed" if found["failed"] else "no metrics came")
                done += int(found["requests"])
                bar.update(int(found["requests"]))
                if done >= args.requests:
                    break
        except KeyboardInterrupt:
            print("ended early", file=sys.stderr)
        finally:
            over.set()
            watcher.join()
    half = samples[len(samples) // 2 :]
    first, last = (
        statistics.median(mb for _, mb in part) for part in (half[: len(half) // 4], half[-len(half) // 4 :])
    )
    change = last / first - 1
    print(f"{done} requests: {samples[0][1]:.0f} MB at the start, {first:.0f} half way, {last:.0f} at the end")
    print(f"change over the last half: {change:+.1%}")
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "memory.json").write_text(json.dumps(samples) + "\n")
        _draw(samples, args.out / "memory.png")
    if abs(change) > _FLAT:
        sys.exit(f"memory is not flat: more than {_FLAT:.0%}")


def _texts(seed: int) -> list[str]:
    rng = random.Random(seed)
    words = " ".join(sentences(_BODIES, seed=seed)).split()
    texts = []
    for number in range(_BODIES):
        length = min(_MOST_WORDS, max(1, round(rng.lognormvariate(math.log(_MEDIAN_WORDS), _SPREAD))))
        start = rng.randrange(len(words) - length)
        texts.append(f"{seed} {number} {' '.join(words[start : start + length])}")
    return texts


def _watch(address: str, samples: list[tuple[float, float]], over: threading.Event) -> None:
    while not over.wait(1):
        with direct.open(f"{address}/metrics", timeout=30) as response:
            lines = [line for line in response.read().decode().splitlines() if not line.startswith("#")]
        metrics = {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}
        requests = sum(value for name, value in metrics.items() if name.startswith("http_requests_total"))
        samples.append((requests, metrics["process_resident_memory_bytes"] / 1e6))


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
