"""`python -m perf.explanations [FILE ...]`: compare our weights of words with those of shap's Partition explainer.

Both explain the same texts with the embedded model, by leaving out the same words, and both weigh them in log-odds of
the predicted label. shap may take 500 variants of a text, its default. It gets our phrases, or forms its own. Prints
Spearman's rank correlation of the weights of a text: its mean and quartiles over all texts. Exits with 1 if the mean
with our phrases is under 0.8. The first run installs shap in an environment of its own, `.peers/shap`.
"""

import argparse
import json
import math
import platform
import random
import statistics
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from app.inference import Model, load_model, normalise
from app.serving.explain import MAX_VARIANTS, Explainer, Span, find_phrases, find_words
from app.types import Prediction
from perf.load.server import ROOT
from perf.load.texts import sentences
from perf.peers.environment import create, up_to_date

TARGET = 0.8
_FOLDER = ROOT / ".peers" / "shap"
_REQUIREMENTS = ("shap==0.51.0",)
_SHAP_VARIANTS = 500
_LEAST_WORDS = 3  # of a text: two weights have no order worth comparing


def ranks(values: Sequence[float]) -> list[float]:
    """Return the rank of each value; equal ones share the mean of their ranks."""
    order = sorted(values)
    first = {value: place for place, value in reversed(list(enumerate(order)))}
    return [first[value] + (order.count(value) - 1) / 2 for value in values]


def rank_correlation(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Return Spearman's rank correlation; 0 if all values of one side are equal."""
    try:
        return statistics.correlation(ranks(ours), ranks(theirs))
    except statistics.StatisticsError:
        return 0.0


def explain(model: Model, text: str) -> tuple[list[float], str, int]:
    """Return our weight of each word, the label, and the number of variants."""
    (prediction,) = model.predict([text])
    explainer, count = Explainer(text, prediction), 0
    while variants := explainer.next_variants():
        count += len(variants)
        explainer.observe(model.predict(variants))
    return [word.weight for word in explainer.weights()], prediction.label, count


class Shap:
    """The Partition explainer in a process of its own, which asks this one for predictions."""

    def __init__(self, model: Model) -> None:
        if not up_to_date(_FOLDER, _REQUIREMENTS):
            create(_FOLDER, _REQUIREMENTS)
        self._model = model
        command = [str(_FOLDER / "bin" / "python"), str(Path(__file__).parent / "peers" / "shap_weights.py")]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> "Shap":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.communicate()

    def weights(self, text: str, label: str, phrases: dict[Span, int]) -> list[float]:
        """Return the weight of each word for the label; without `phrases`, shap forms its own."""
        words = find_words(text)
        found = [[*phrase, middle] for phrase, middle in phrases.items()]
        self._write({"words": [text[start:end] for start, end in words], "phrases": found, "variants": _SHAP_VARIANTS})
        while "weights" not in (answer := self._read()):
            variants = [variant(text, words, present) for present in answer["variants"]]
            self._write([log_odds(prediction, label) for prediction in self._model.predict(variants)])
        weights: list[float] = answer["weights"]
        return weights

    def _write(self, value: object) -> None:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(value) + "\n")
        self._process.stdin.flush()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


def variant(text: str, words: Sequence[Span], present: str) -> str:
    """Return a text without the words whose place in `present` has a 0."""
    for (start, end), is_present in reversed(list(zip(words, present, strict=True))):
        if is_present == "0":
            text = text[:start] + text[end:]
    return text if normalise(text) else "."


def log_odds(prediction: Prediction, label: str) -> float:
    score = min(max(prediction.scores[label], 1e-6), 1 - 1e-6)
    return math.log(score / (1 - score))


def read_texts(files: Sequence[Path], count: int) -> list[str]:
    """Return texts from all files alike: tab-separated ones with a column `text`, others have a text in each line."""
    rng = random.Random(7)
    chosen: list[str] = []
    for place, file in enumerate(files):
        lines = file.read_text(encoding="utf-8").splitlines()
        header = lines[0].split("\t")
        texts = [line.split("\t")[header.index("text")] for line in lines[1:]] if "text" in header else lines
        texts = [text for text in texts if len(find_words(text)) >= _LEAST_WORDS]
        chosen += rng.sample(texts, min(len(texts), (count - len(chosen)) // (len(files) - place)))
    return chosen


def report(name: str, correlations: Sequence[float]) -> float:
    mean = statistics.mean(correlations)
    quartiles = ", ".join(f"{quartile:.2f}" for quartile in statistics.quantiles(correlations, n=4))
    print(f"{name:24} mean {mean:.3f}, quartiles {quartiles}")
    return mean


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m perf.explanations", description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="texts (default: synthetic sentences)")
    parser.add_argument("--count", type=int, default=200, help="number of texts (%(default)s)")
    args = parser.parse_args()
    texts = read_texts(args.files, args.count) if args.files else sentences(args.count)
    model = load_model("sentiment-en", backend="onnx")
    variants = []
    with_ours, with_theirs = [], []
    with ExitStack() as stack:
        shap = stack.enter_context(Shap(model))
        for text in texts:
            weights, label, count = explain(model, text)
            variants.append(count)
            phrases = find_phrases(text, find_words(text))
            with_ours.append(rank_correlation(weights, shap.weights(text, label, phrases)))
            with_theirs.append(rank_correlation(weights, shap.weights(text, label, {})))
    print(f"{len(texts)} texts, {model.info.id}, {platform.machine()}, Python {platform.python_version()}")
    print(f"{statistics.mean(variants):.0f} variants of a text, at most {MAX_VARIANTS}; shap: {_SHAP_VARIANTS}")
    mean = report("shap with our phrases", with_ours)
    report("shap with its phrases", with_theirs)
    sys.exit(f"the mean is under {TARGET}" if mean < TARGET else 0)


if __name__ == "__main__":
    main()
