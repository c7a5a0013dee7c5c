"""`python -m perf.profile.invariance [TREE ...]`: how much the scores of a text depend on the other texts in its batch.

Asks the service of each working tree (default: this one) for the same texts alone, in lists of 256, and beside 32 other
clients, without a cache. Prints the largest difference of a score, how many texts differ by more than 0.001 and by more
than 0.01, and how many get another label, or go through another number of layers of a model with exits. Responses to
lists do not say the layers of each text.
"""

import argparse
import json
import sys
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from perf.load.server import direct, running
from perf.load.texts import sentences

_LIST = 256
_CLIENTS = 32
_LIMITS = (0.001, 0.01)

Predictions = list[dict[str, Any]]


def _post(address: str, path: str, body: Any) -> tuple[Any, str]:
    """Return the response and its depth, as in `4/6`."""
    request = urllib.request.Request(address + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with direct.open(request, timeout=60) as response:
        return json.load(response), response.headers.get("X-Depth", "")


def _ask(address: str, text: str) -> dict[str, Any]:
    prediction, depth = _post(address, "/predict", {"text": text})
    return dict(prediction) | {"depth": depth}


def alone(address: str, texts: Sequence[str]) -> Predictions:
    """Predict one text after the other, so that none shares a batch."""
    return [_ask(address, text) for text in texts]


def in_lists(address: str, texts: Sequence[str]) -> Predictions:
    bodies = [{"texts": texts[start : start + _LIST]} for start in range(0, len(texts), _LIST)]
    return [each for body in bodies for each in _post(address, "/predict/batch", body)[0]["predictions"]]


def beside_others(address: str, texts: Sequence[str]) -> Predictions:
    """Predict the texts in the order of 32 concurrent clients, so that batches form at random."""
    with ThreadPoolExecutor(_CLIENTS) as clients:
        return list(clients.map(lambda text: _ask(address, text), texts))


def compare(reference: Predictions, others: Predictions) -> tuple[float, list[int], int, int]:
    """Return the largest difference, the number of texts beyond each limit, with another label, and another depth."""
    pairs = list(zip(reference, others, strict=True))
    differences = [max(abs(a["scores"][label] - b["scores"][label]) for label in a["scores"]) for a, b in pairs]
    # The service rounds to four digits, which adds at most 0.0001.
    beyond = [sum(difference > limit for difference in differences) for limit in _LIMITS]
    depths = sum(a["depth"] != b.get("depth", a["depth"]) for a, b in pairs)
    return max(differences), beyond, sum(a["label"] != b["label"] for a, b in pairs), depths


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m perf.profile.invariance",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("trees", nargs="*", type=Path, metavar="TREE", default=[Path()], help="a working tree")
    parser.add_argument("--texts", type=Path, help="a file with one text per line (default: synthetic sentences)")
    parser.add_argument("--model", help="another model (default: that of the tree)")
    parser.add_argument("--count", type=int, default=1000, help="number of texts (default: %(default)s)")
    args = parser.parse_args()
    texts = args.texts.read_text().splitlines()[: args.count] if args.texts else sentences(args.count)
    ways: dict[str, Callable[[str, Sequence[str]], Predictions]] = {
        "alone, again": alone,
        f"lists of {_LIST}": in_lists,
        f"beside {_CLIENTS} clients": beside_others,
    }
    for tree in args.trees:
        # -P: the modules come from the tree, not from the current folder.
        command = [sys.executable, "-P", "-m", "app", "serve", "--cache-entries", "0"]
        command += [*(["--model", args.model] if args.model else []), "--port"]
        with running(command, environment={"PYTHONPATH": str(tree.resolve())}) as address:
            titles = f"{'largest':>12}{'> 0.001':>10}{'> 0.01':>10}{'other label':>14}{'other depth':>14}"
            print(f"{f'{tree}: {len(texts)} texts':24}{titles}")
            reference = alone(address, texts)
            for name, way in ways.items():
                largest, (small, large), labels, depths = compare(reference, way(address, texts))
                print(f"{name:24}{largest:12.4f}{small:10}{large:10}{labels:14}{depths:14}", flush=True)


if __name__ == "__main__":
    main()
