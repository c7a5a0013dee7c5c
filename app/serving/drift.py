"""Drift: how far the answers in production are from those to the texts that the model was developed with.

The measure is the population stability index (PSI), from the monitoring of credit scores (Lewis, An Introduction to
Credit Scoring, 1994; Siddiqi, Credit Risk Scorecards, 2006):

    PSI = sum over bins of (actual - expected) · ln(actual / expected)

It is the symmetric form of the Kullback-Leibler divergence (Jeffreys, 1946): 0 if both distributions are the same, and
never negative. By the usual limits, below 0.1 nothing has changed that matters, from 0.1 to 0.25 something has, and
above 0.25 the texts are others. Drift says that texts or answers have changed, not that answers are wrong.
"""

import math
from collections.abc import Iterable

from ..inference import Development

# Added to each share, so that an empty bin has a logarithm: one text in a thousand.
_SMOOTHING = 0.001
_FEWEST_TEXTS = 500
# By chance alone, PSI is about (bins - 1) / texts, on either side: half of the lower limit at 20 texts per bin.
_TEXTS_PER_BIN = 20
_LARGEST_WEIGHT = 1e12  # well within the precision of a float


class Drift:
    """Counts answers in the bins of `development`, without their texts, and compares the shares.

    Older answers count less: one that is `memory_texts` answers old counts 37 % of a new one.
    """

    def __init__(self, development: Development, memory_texts: int = 5000) -> None:
        if memory_texts < 2:
            raise ValueError("memory_texts must be at least 2")
        self._development = development
        self._expected = {
            "labels": [*development.labels.values()],
            "confidence": [*development.confidence.shares],
            "tokens": [*development.tokens.shares],
        }
        self._counts = {name: [0.0] * len(shares) for name, shares in self._expected.items()}
        self._label_bins = {label: number for number, label in enumerate(development.labels)}
        self._seen = 0
        self._fewest = max(_FEWEST_TEXTS, _TEXTS_PER_BIN * max(map(len, self._expected.values())))
        # Instead of making all counts smaller with each answer, make the next answer count more.
        self._weight = 1.0
        self._growth = 1 / (1 - 1 / memory_texts)

    def observe(self, label: str, confidence: float, tokens: int) -> None:
        """Count an answer: its label, its confidence from 0 to 1, and the tokens that the model read."""
        self._counts["labels"][self._label_bins[label]] += self._weight
        self._counts["confidence"][self._development.confidence_bin(confidence)] += self._weight
        self._counts["tokens"][self._development.token_bin(tokens)] += self._weight
        self._seen += 1
        self._weight *= self._growth
        if self._weight > _LARGEST_WEIGHT:
            self._rescale()

    def scores(self) -> dict[str, float] | None:
        """Return the PSI of `labels`, `confidence` and `tokens`.

        None while fewer than 500 texts have been seen or 20 per bin, and if the model was developed with fewer than 20
        texts per bin: then chance alone would look like drift.
        """
        development_fewest = _TEXTS_PER_BIN * max(map(len, self._expected.values()))
        if self._seen < self._fewest or self._development.texts < development_fewest:
            return None
        return {name: psi(shares, _shares(self._counts[name])) for name, shares in self._expected.items()}

    def _rescale(self) -> None:
        for counts in self._counts.values():
            counts[:] = [count / self._weight for count in counts]
        self._weight = 1.0


def psi(expected: Iterable[float], actual: Iterable[float]) -> float:
    """Return the population stability index of two lists of shares, each with the sum 1, in the same order of bins."""
    return sum(_term(before + _SMOOTHING, now + _SMOOTHING) for before, now in zip(expected, actual, strict=True))


def _term(expected: float, actual: float) -> float:
    return (actual - expected) * math.log(actual / expected)


def _shares(counts: list[float]) -> list[float]:
    total = sum(counts)
    return [count / total for count in counts]
