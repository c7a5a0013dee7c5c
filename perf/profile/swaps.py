"""`python -m perf.profile.swaps`: what it costs to replace the model while the service is under load.

Starts a service with a models file, and a closed loop of single texts and lists that are all different. Then it writes
another version into the file, again and again, as `rt-sentiment models` does. The two versions have labels of their
own, so that a list with answers of both would show. Prints how long each swap took, the memory after it, and the p99
latency before and during it; exits with 1 if a request failed or got a mixed answer.
"""

import argparse
import json
import math
import re
import shutil
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from app.catalog import Catalog, ModelSpec, VersionSpec, locked, write
from perf.load.closedloop import Answer, Response, offering
from perf.load.flags import positive_integer
from perf.load.metrics import scrape
from perf.load.openloop import encode_request
from perf.load.server import ROOT, direct, running
from perf.load.texts import sentences

MODEL = "sentiment-en"
VERSIONS = ("a", "b")
LIST_SIZE = 8
_LISTS = 8  # every eighth connection sends lists
_BEFORE_S, _AFTER_S = 5.0, 1.0
_POLL_S = 0.1
_PATIENCE_S = 60.0
_LABEL = re.compile(rb'"label": ?"[a-z]+-([a-z])"')

MIXED, CONTRADICTED, FAILED = "mixed", "contradicted", "failed"  # in place of the version


@dataclass(frozen=True)
class Change:
    """A change of the models file to another version, and the memory of the process before and after it."""

    version: str
    changed_s: float
    before_bytes: float
    after_bytes: float


@dataclass(frozen=True)
class Swap:
    """What a change did to the requests. Without an answer of the new version, times are infinite."""

    seconds: float  # to the first answer of the new version
    before_ms: float  # p99 of the answers in the seconds before
    during_ms: float  # p99 from the change to a second after the switch

    @property
    def ratio(self) -> float:
        return self.during_ms / self.before_ms


def main() -> None:
    """Swap, print a line for each, and judge."""
    parser = argparse.ArgumentParser(prog="python -m perf.profile.swaps", description=__doc__)
    parser.add_argument("--swaps", type=positive_integer, default=20)
    parser.add_argument("--connections", type=positive_integer, default=64)
    parser.add_argument("--model", type=Path, default=ROOT / "models" / MODEL, help="with the labels of the default")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for version in VERSIONS:
            copy_as(version, args.model, folder / version)
        file = folder / "models.yaml"
        state(file, folder / VERSIONS[0])
        settings = {
            "SENTIMENT_MODELS_FILE": str(file),
            "SENTIMENT_MODELS_POLL_S": "0.1",
            "SENTIMENT_CACHE_ENTRIES": "0",
            # On a slow machine, so many connections may wait for longer than is allowed otherwise.
            "SENTIMENT_MAX_WAIT_MS": "30000",
            "SENTIMENT_LOG_LEVEL": "warning",
        }
        make_request = partial(request_of, sentences(2000))
        with running([sys.executable, "-m", "app", "serve", "--port"], environment=settings) as address:
            with offering(address, args.connections, partial(make_request, address), judge) as load:
                changes = _swap(address, file, args.swaps)
            swaps = [measure(load.answers, change) for change in changes]
    print(report(swaps, changes))
    counts = Counter(answer.note for answer in load.answers)
    print(totals(swaps, changes, counts))
    if counts[FAILED] or counts[MIXED] or counts[CONTRADICTED]:
        sys.exit(1)


def copy_as(version: str, model: Path, folder: Path) -> None:
    """Copy a model, with a suffix in its labels and its version in the manifest."""
    # Here, because the process that sends the load imports this module, too, and needs no PyTorch.
    from training.checkpoints import rename_labels
    from training.data import LabelMap

    shutil.copytree(model, folder, symlinks=False)
    manifest = folder / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"version": version}))
    labels = json.loads((folder / "config.json").read_text())["id2label"].values()
    rename_labels(folder, LabelMap.parse(",".join(f"{label}:{label}-{version}" for label in labels)))


def state(file: Path, version: Path) -> None:
    """Make the models file state one version, which all callers get, in one step."""
    spec = VersionSpec(str(version), "path", 100.0, shadow=False)
    with locked(file):
        write(file, Catalog((ModelSpec(MODEL, (spec,)),)))


def request_of(texts: Sequence[str], address: str, connection: int, count: int) -> bytes:
    """Return a request whose texts are those of no other: most connections send one text, some send lists."""
    first = (connection * 7919 + count * LIST_SIZE) % len(texts)
    chosen = [f"{connection}.{count}: {texts[(first + place) % len(texts)]}" for place in range(LIST_SIZE)]
    is_list = connection % _LISTS == 0
    path, body = ("/predict/batch", {"texts": chosen}) if is_list else ("/predict", {"text": chosen[0]})
    return encode_request(address, path, json.dumps(body).encode(), {})


def judge(response: Response) -> str:
    """Return the version whose labels a response has, or what is wrong with it."""
    labels = [label.decode() for label in _LABEL.findall(response.body)]
    expected = LIST_SIZE if response.number % _LISTS == 0 else 1
    if response.status != 200 or len(labels) != expected:
        return FAILED
    if len(set(labels)) > 1:
        return MIXED
    return labels[0] if response.model == f"{MODEL}@{labels[0]}" else CONTRADICTED


def measure(answers: Sequence[Answer], change: Change) -> Swap:
    """Return what a change did. An answer counts when it arrives: one that was held up counts for what held it up."""
    begun_s = change.changed_s
    later = (each.answered_s for each in answers if each.answered_s >= begun_s and each.note == change.version)
    switched_s = min(later, default=math.inf)
    return Swap(
        switched_s - begun_s,
        _p99_ms(answers, begun_s - _BEFORE_S, begun_s),
        _p99_ms(answers, begun_s, switched_s + _AFTER_S),
    )


def _p99_ms(answers: Sequence[Answer], from_s: float, to_s: float) -> float:
    times = [each.answered_s - each.sent_s for each in answers if from_s <= each.answered_s < to_s]
    return float(np.percentile(times, 99)) * 1000 if times else math.nan


def report(swaps: Sequence[Swap], changes: Sequence[Change]) -> str:
    """Return a table with a row for each swap."""
    header = f"{'swap':>4} {'seconds':>8} {'MB before':>10} {'after':>6} {'p99 before':>11} {'during':>9} {'ratio':>6}"
    rows = [
        f"{number:>4} {swap.seconds:>8.2f} {change.before_bytes / 1e6:>10.1f} {change.after_bytes / 1e6:>6.1f} "
        f"{swap.before_ms:>8.1f} ms {swap.during_ms:>6.1f} ms {swap.ratio:>6.2f}"
        for number, (swap, change) in enumerate(zip(swaps, changes, strict=True), 1)
    ]
    return "\n".join([header, *rows])


def totals(swaps: Sequence[Swap], changes: Sequence[Change], counts: Counter[str]) -> str:
    """Return what all swaps together say; medians, because other work on the machine can spoil single ones."""
    ratios = [swap.ratio for swap in swaps]
    lines = [
        f"requests {counts.total():,}, failed {counts[FAILED]}, lists with labels of two versions {counts[MIXED]}, "
        f"X-Model and labels differ {counts[CONTRADICTED]}",
        f"seconds: median {statistics.median(swap.seconds for swap in swaps):.2f}",
        f"p99 during / before: median {statistics.median(ratios):.2f}, worst {max(ratios):.2f}",
    ]
    memory = [change.after_bytes for change in changes]
    lines += [
        f"memory after {number} swaps / after the first: {memory[number - 1] / memory[0]:.3f}"
        for number in sorted({min(number, len(memory)) for number in (10, 20)})
    ]
    return "\n".join(lines)


def _swap(address: str, file: Path, swaps: int) -> list[Change]:
    changes = []
    for number in range(1, swaps + 1):
        time.sleep(_BEFORE_S)
        version = VERSIONS[number % 2]
        before_bytes, changed_s = _memory(address), time.monotonic()
        state(file, file.parent / version)
        _wait(address, version, changed_s + _PATIENCE_S)
        time.sleep(_AFTER_S)
        changes.append(Change(version, changed_s, before_bytes, _memory(address)))
    return changes


def _wait(address: str, version: str, until_s: float) -> None:
    """Wait until only this version is in memory."""
    while True:
        versions: list[dict[str, Any]] = _get(f"{address}/models/{MODEL}")["versions"]
        if [each["version"] for each in versions if each["share"]] == [f"{MODEL}@{version}"] and len(versions) == 1:
            return
        if time.monotonic() > until_s:
            sys.exit(f"version {version} does not answer alone: {versions}")
        time.sleep(_POLL_S)


def _get(url: str) -> dict[str, Any]:
    with direct.open(url, timeout=30) as response:
        return dict(json.load(response))


def _memory(address: str) -> float:
    return scrape(address)["process_resident_memory_bytes"]


if __name__ == "__main__":
    main()
