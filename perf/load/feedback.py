"""Realistic requests: customer feedback of natural lengths, with popular texts, some lists and a few bad requests."""

import random
from dataclasses import dataclass, field
from functools import cache
from itertools import accumulate
from typing import Any

from perf.load.texts import sentences

DISTINCT_TEXTS = 20_000
# Zipf's law: the k-th most frequent text comes k^-0.9 times as often as the first. Web requests have 0.6 to 1.0.
_ZIPF_EXPONENT = 0.9
LONGEST_LIST = 16
_LIST_SHARE = 0.12
_BAD_SHARE = 0.02
_BAD_REQUESTS: tuple[tuple[int, bytes, str], ...] = (
    (400, b'{"text": ', "application/json"),
    (415, b"text=good", "application/x-www-form-urlencoded"),
    (422, b'{"text": "   "}', "application/json"),
    (422, b'{"texts": "good"}', "application/json"),
)


@dataclass(frozen=True)
class Request:
    """A request and the status that the service has to answer it with."""

    kind: str  # single, list or bad
    path: str
    body: Any  # bytes are sent as they are, everything else as JSON
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})


class Feedback:
    """A source of requests. Texts repeat by Zipf's law, as web requests do (Breslau et al., 1999)."""

    def __init__(self, seed: int, longest_list: int = LONGEST_LIST) -> None:
        """Equal seeds give equal requests. All sources draw from the same texts."""
        self._rng = random.Random(seed)
        self._longest_list = longest_list
        self._texts = _all_texts()
        self._weights = _cumulative_weights()

    def request(self) -> Request:
        """Return the next request: usually one text, sometimes a list of at least 2 texts, rarely a bad request."""
        chance = self._rng.random()
        if chance < _BAD_SHARE:
            status, body, kind = self._rng.choice(_BAD_REQUESTS)
            return Request("bad", "/predict", body, status, {"Content-Type": kind})
        if chance < _BAD_SHARE + _LIST_SHARE:
            return Request("list", "/predict/batch", {"texts": self.texts(self._rng.randint(2, self._longest_list))})
        return Request("single", "/predict", {"text": self.texts(1)[0]})

    def texts(self, number: int) -> list[str]:
        """Draw texts; popular ones come more often."""
        return self._rng.choices(self._texts, cum_weights=self._weights, k=number)


@cache
def _all_texts() -> list[str]:
    """Texts of 1 to 6 sentences: half have one sentence, few are long."""
    rng = random.Random(5)
    pool = iter(sentences(3 * DISTINCT_TEXTS, seed=5))
    return [" ".join(next(pool) for _ in range(min(6, 1 + int(rng.expovariate(0.8))))) for _ in range(DISTINCT_TEXTS)]


@cache
def _cumulative_weights() -> list[float]:
    return list(accumulate((rank + 1) ** -_ZIPF_EXPONENT for rank in range(DISTINCT_TEXTS)))
