"""A backend without a model, for developing against the API and for tests.

Deterministic: it counts the positive and negative words of a small list. A text with more of one kind has that label; a
text with neither is neutral. It can be slow or fail on purpose, for any text (`delay_ms`, `failure_rate`) or for texts
with one of these words:

    [slow]  takes a second longer
    [fail]  raises, like a model that runs out of memory
    [nan]   returns logits that are NaN
    [hang]  never returns
    [break] raises, and so does every run in the next three seconds, like a lost device
"""

import random
import threading
import time
from pathlib import Path

import numpy as np
from tokenizers import Regex, models, normalizers, pre_tokenizers
from tokenizers import Tokenizer as FastTokenizer

from ...types import Batch, FloatArray
from ..artifact import Artifact

LABELS = ("negative", "neutral", "positive")
_POSITIVE = [
    "good",
    "great",
    "love",
    "loved",
    "like",
    "nice",
    "best",
    "amazing",
    "excellent",
    "awesome",
    "happy",
    "wonderful",
    "fantastic",
    "perfect",
]
_NEGATIVE = [
    "bad",
    "hate",
    "hated",
    "worst",
    "awful",
    "terrible",
    "boring",
    "sad",
    "horrible",
    "poor",
    "slow",
    "broken",
    "disappointing",
    "useless",
]
_FAULTS = ["[slow]", "[fail]", "[nan]", "[hang]", "[break]"]
_BREAK_S = 3.0
_PAD, _OTHER = "[pad]", "[other]"
_IDS = {word: index for index, word in enumerate([_PAD, _OTHER, *_FAULTS, *_NEGATIVE, *_POSITIVE])}
_SLOW, _FAIL, _NAN, _HANG, _BREAK = (_IDS[word] for word in _FAULTS)
_FIRST_NEGATIVE, _FIRST_POSITIVE = _IDS[_NEGATIVE[0]], _IDS[_POSITIVE[0]]


class MockBackend:
    """Counts words. `delay_ms` is added to every batch; `failure_rate` is the fraction of batches that raise."""

    name, device, precision, skips_padding = "mock", "cpu", "none", False

    def __init__(self, *, delay_ms: float = 0.0, failure_rate: float = 0.0, seed: int = 0, slots: int = 1) -> None:
        self.slots = slots
        self._delay_s = delay_ms / 1000
        self._failure_rate = failure_rate
        self._random = random.Random(seed)
        self._broken_until_s = 0.0

    def run(self, batch: Batch) -> FloatArray:
        """See `Backend.run`."""
        ids = batch.input_ids
        if (ids == _BREAK).any():
            self._broken_until_s = time.monotonic() + _BREAK_S
        if time.monotonic() < self._broken_until_s:
            raise RuntimeError("the mock is broken on purpose")
        if (ids == _HANG).any():
            threading.Event().wait()
        time.sleep(self._delay_s + bool((ids == _SLOW).any()))
        # Never in the warm-up, which runs only padding: the service must start so that clients can see failures.
        random_failure = ids.any() and self._random.random() < self._failure_rate
        if (ids == _FAIL).any() or random_failure:
            raise RuntimeError("the mock fails on purpose")
        negative = ((ids >= _FIRST_NEGATIVE) & (ids < _FIRST_POSITIVE)).sum(axis=1)
        positive = (ids >= _FIRST_POSITIVE).sum(axis=1)
        logits = np.stack([negative, np.full(len(batch), 0.5), positive], axis=1).astype(np.float32) * 2
        logits[(ids == _NAN).any(axis=1)] = np.nan
        return logits


def mock_artifact() -> Artifact:
    """Return an artifact without files."""
    return Artifact("mock", Path(), LABELS, max_tokens=512, pad_id=_IDS[_PAD], files={}, manifest={"version": "mock"})


def mock_tokenizer() -> FastTokenizer:
    """Return a tokenizer for lower-cased words; all unlisted words have the same id."""
    tokenizer = FastTokenizer(models.WordLevel(_IDS, unk_token=_OTHER))
    tokenizer.normalizer = normalizers.Lowercase()
    words = pre_tokenizers.Split(Regex(r"\[?\w+\]?"), behavior="isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), words])
    return tokenizer
