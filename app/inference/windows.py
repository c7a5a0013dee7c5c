"""Texts with too many tokens for the model: where to cut them into windows, and how to combine the results."""

import math
from collections.abc import Sequence

from ..types import Prediction


def cut(words: Sequence[int | None], max_tokens: int) -> list[range]:
    """Cut a text into as few windows of at most `max_tokens` tokens as possible, all of about the same length.

    `words` has, for each token, the number of its word. A cut within a word moves to the start of the word, unless
    another window would be needed then.
    """
    windows: list[range] = []
    start = 0
    for left in range(math.ceil(len(words) / max_tokens), 0, -1):
        end = start + math.ceil((len(words) - start) / left)
        before = end
        while start < before < len(words) and words[before] == words[before - 1]:
            before -= 1
        if start < before and len(words) - before <= (left - 1) * max_tokens:
            end = before
        windows.append(range(start, end))
        start = end
    return windows


def average(predictions: Sequence[Prediction], lengths: Sequence[int]) -> Prediction:
    """Combine the predictions of the windows of a text: the mean of their scores, weighted by length."""
    if len(predictions) == 1:
        return predictions[0]
    total = sum(lengths)
    scores = {
        label: sum(each.scores[label] * length for each, length in zip(predictions, lengths, strict=True)) / total
        for label in predictions[0].scores
    }
    best = max(scores, key=lambda label: scores[label])
    layers = max(each.layers for each in predictions)
    return Prediction(
        best,
        scores[best],
        scores,
        abstain_below=predictions[0].abstain_below,
        layers=layers,
        shallow=any(each.shallow for each in predictions),
    )
