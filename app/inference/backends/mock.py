"""A backend without a model, for people who develop against the API and for tests of everything around the model.

Deterministic: a text is positive or negative by the words of a small list that it has more of, and neutral otherwise.
It can be slow or fail on purpose, always (`delay_ms`, `failure_rate`) or for one text, by these words in it:

    [slow]  takes a second longer
    [fail]  raises, as a model does that runs out of memory
    [nan]   gives logits that are not numbers
    [hang]  never comes back
    [break] raises, and so does every run of the next three seconds, as on a device that was lost
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
    """Counts words. `delay_ms` is added to every batch; `failure_rate` is the share that raises."""

    name, device, precision, packs = "mock", "cpu", "none", False

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
            raise RuntimeError("the mock was told to break")
        if (ids == _HANG).any():
            threading.Event().wait()
        time.sleep(self._delay_s + bool((ids == _SLOW).any()))
        # Never in the warm-up, which runs padding alone: a service that does not start shows nobody how callers cope.
        unlucky = ids.any() and self._random.random() < self._failure_rate
        if (ids == _FAIL).any() or unlucky:
            raise RuntimeError("the mock was told to fail")
        negative = ((ids >= _FIRST_NEGATIVE) & (ids < _FIRST_POSITIVE)).sum(axis=1)
        positive = (ids >= _FIRST_POSITIVE).sum(axis=1)
        logits = np.stack([negative, np.full(len(batch), 0.5), positive], axis=1).astype(np.float32) * 2
        logits[(ids == _NAN).any(axis=1)] = np.nan
        return logits


def mock_artifact() -> Artifact:
    """The description of the model that isn't there."""
    return Artifact("mock", Path(), LABELS, max_tokens=512, pad_id=_IDS[_PAD], files={}, manifest={"version": "mock"})


def mock_tokenizer() -> FastTokenizer:
    """Lower-cased words; all that are not in the list are one."""
    tokenizer = FastTokenizer(models.WordLevel(_IDS, unk_token=_OTHER))
    tokenizer.normalizer = normalizers.Lowercase()
    words = pre_tokenizers.Split(Regex(r"\[?\w+\]?"), behavior="isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), words])
    return tokenizer
