"""What the service tells the metrics."""

from collections.abc import Sequence
from typing import Protocol

from ..errors import SentimentError
from ..types import CacheOutcome, Prediction


class Observer(Protocol):
    """Counts what happens."""

    def tokenized(self, seconds: float) -> None:
        """The texts of a request were tokenised."""

    def looked_up(self, outcome: CacheOutcome, texts: int) -> None:
        """Texts came from the cache, had to be computed, or joined a computation in progress."""

    def varied(self, variants: int) -> None:
        """Variants of texts were scored, for explanations."""

    def computed(self, prediction: Prediction, tokens: int) -> None:
        """The model has scored a text of so many tokens."""

    def predicted(self, prediction: Prediction) -> None:
        """A text got a prediction, from the model or from the cache."""

    def windowed(self, texts: int) -> None:
        """Texts were read in several windows, because they have more tokens than the model reads."""

    def backend_failed(self) -> None:
        """The model failed on a text."""


class VariantObserver:
    """Counts variants of texts apart: they would distort the mix of labels and the rate of cache hits."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer

    def tokenized(self, seconds: float) -> None:
        """Count nothing: only the texts of the request do."""

    def looked_up(self, _outcome: CacheOutcome, texts: int) -> None:
        self._observer.varied(texts)

    def varied(self, variants: int) -> None:
        self._observer.varied(variants)

    def computed(self, prediction: Prediction, tokens: int) -> None:
        """Count nothing."""

    def predicted(self, prediction: Prediction) -> None:
        """Count nothing."""

    def windowed(self, texts: int) -> None:
        """Count nothing."""

    def backend_failed(self) -> None:
        self._observer.backend_failed()


def observed(
    observer: Observer, windowed: int, results: Sequence[Prediction | SentimentError]
) -> Sequence[Prediction | SentimentError]:
    """Return the results of a request, of which so many texts were read in windows, once they are counted."""
    if windowed:
        observer.windowed(windowed)
    for result in results:
        if isinstance(result, Prediction):
            observer.predicted(result)
    return results
