"""Texts with more tokens than the model reads: where to cut them, and what their windows say together. Pure."""

import math
from collections.abc import Sequence

from ..types import Prediction


def cut(words: Sequence[int | None], most: int) -> list[range]:
    """Return the fewest windows of at most `most` tokens that cover a text, in order, and about equally long.

    `words` has the number of the word that each token is a piece of. Their sizes differ by one at
    most, but where a cut would part a word: it is made before that word then, unless what follows would need a window
    more for it.
    """
    windows: list[range] = []
    start = 0
    for left in range(math.ceil(len(words) / most), 0, -1):
        end = start + math.ceil((len(words) - start) / left)
        before = end
        while start < before < len(words) and words[before] == words[before - 1]:
            before -= 1
        if start < before and len(words) - before <= (left - 1) * most:
            end = before
        windows.append(range(start, end))
        start = end
    return windows


def average(predictions: Sequence[Prediction], lengths: Sequence[int]) -> Prediction:
    """Return what the windows of a text say together: the mean of their scores, each weighted by its length."""
    if len(predictions) == 1:
        return predictions[0]
    total = sum(lengths)
    scores = {
        label: sum(found.scores[label] * length for found, length in zip(predictions, lengths, strict=True)) / total
        for label in predictions[0].scores
    }
    best = max(scores, key=lambda label: scores[label])
    return Prediction(best, scores[best], scores)
