"""Weights of words by shap's Partition explainer. Runs in an environment of its own; `perf.explanations` starts it.

Reads a line of JSON for each text: its words, and the phrases that they form. For the variants whose log-odds it
needs, it writes a line with the words that are present in each, and reads a line with the log-odds. Then it writes the
weights.
"""

import json
import os
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import shap


class WordMasker(shap.maskers.Masker):
    """Masks the words of one text. A masked text is a row of ones for words that are present, and zeros for others."""

    def __init__(self, words: Sequence[str], phrases: Sequence[Sequence[int]]) -> None:
        """`phrases` are ranges of words with the place where their halves meet; without any, they are those of shap."""
        self._words = words
        self._phrases = phrases

    def __call__(self, mask: Any, _text: Any) -> tuple[Any]:
        present = np.broadcast_to(mask, len(self._words)).astype(int)
        return (np.array(["".join(map(str, present))]),)

    def shape(self, _text: Any) -> tuple[int, int]:
        return 1, len(self._words)

    def mask_shapes(self, _text: Any) -> list[tuple[int]]:
        return [(len(self._words),)]

    def feature_names(self, _text: Any) -> list[list[str]]:
        return [list(self._words)]

    def clustering(self, _text: Any) -> Any:
        """Return the tree as a linkage matrix: two clusters, their distance, and the number of words."""
        if not self._phrases:
            return shap.maskers.Text(r"\s").clustering(" ".join(self._words))
        count = len(self._words)
        numbers = {(place, place + 1): place for place in range(count)}
        rows = []
        for start, end, middle in sorted(self._phrases, key=lambda phrase: phrase[1] - phrase[0]):
            rows.append([numbers[start, middle], numbers[middle, end], (end - start) / count, end - start])
            numbers[start, end] = count + len(rows) - 1
        return np.array(rows, dtype=float)


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer

    def write(value: object) -> None:
        answers.write(json.dumps(value) + "\n")
        answers.flush()

    def log_odds(variants: Sequence[str]) -> Any:
        write({"variants": [str(variant) for variant in variants]})
        return np.array(json.loads(sys.stdin.readline()))

    for line in sys.stdin:
        text = json.loads(line)
        np.random.seed(0)  # with which shap breaks ties
        explainer = shap.PartitionExplainer(log_odds, WordMasker(text["words"], text["phrases"]))
        explanation = explainer([" ".join(text["words"])], max_evals=text["variants"], batch_size=50, silent=True)
        write({"weights": explanation.values[0].tolist()})


if __name__ == "__main__":
    main()
