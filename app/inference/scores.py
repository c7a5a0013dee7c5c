"""From logits to predictions."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..types import Encoding, FloatArray, Prediction


def softmax(logits: FloatArray, temperature: float = 1.0) -> NDArray[np.float64]:
    """Return probabilities of shape (texts, labels), in double precision so that each row sums to 1 within 1e-6."""
    shifted = np.exp((logits.astype(np.float64) - logits.max(axis=1, keepdims=True)) / temperature)
    probabilities: NDArray[np.float64] = shifted / shifted.sum(axis=1, keepdims=True)
    return probabilities


class Scores:
    """Makes predictions with these labels. Those with a confidence below `abstain_below` have no label for users."""

    def __init__(self, labels: Sequence[str], abstain_below: float) -> None:
        self.labels = tuple(labels)
        self._abstain_below = abstain_below

    def predictions(
        self, encodings: Sequence[Encoding], logits: FloatArray, temperature: float, layers: int
    ) -> list[Prediction]:
        """Return the prediction of each text, whose logits were reached after so many layers; 0: without exits."""
        # By the logits, because at a high temperature scores become equal.
        best_ones = logits.argmax(axis=1).tolist()
        probabilities = softmax(logits, temperature)
        log_sums = logits.max(axis=1).astype(np.float64) / temperature - np.log(probabilities.max(axis=1))
        every = zip(encodings, best_ones, probabilities.tolist(), log_sums.tolist(), strict=True)
        return [
            Prediction(
                self.labels[best],
                scores[best],
                dict(zip(self.labels, scores, strict=True)),
                encoding.truncated,
                log_sum,
                self._abstain_below,
                layers,
            )
            for encoding, best, scores, log_sum in every
        ]
