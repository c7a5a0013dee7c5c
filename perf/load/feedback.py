"""What callers send: feedback of natural lengths, some of it again and again, mostly one by one."""

import random
from dataclasses import dataclass, field
from functools import cache
from itertools import accumulate
from typing import Any

from perf.load.texts import sentences

DISTINCT = 20_000
_ZIPF = 0.9  # the k-th most frequent text comes k^-0.9 times as often as the first; web requests have 0.6 to 1.0
_LIST_SHARE = 0.12
_BAD_SHARE = 0.02
_BAD: tuple[tuple[int, bytes, str], ...] = (
    (400, b'{"text": ', "application/json"),
    (415, b"text=good", "application/x-www-form-urlencoded"),
    (422, b'{"text": "   "}', "application/json"),
    (422, b'{"texts": "good"}', "application/json"),
)


@dataclass(frozen=True)
class Request:
    """A request to send and the status that answers it. `body` is JSON to be, or the bytes themselves."""

    kind: str
    path: str
    body: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})


class Feedback:
    """A source of requests. Repeats follow Zipf's law, as those of web requests do (Breslau 1999)."""

    def __init__(self, seed: int) -> None:
        """Equal seeds give equal requests; all sources share one stock of texts."""
        self._rng = random.Random(seed)
        self._texts = _stock()
        self._weights = _weights()

    def request(self) -> Request:
        """Return the next request: one text mostly, a list of 2 to 16 at times, now and then one that is wrong."""
        chance = self._rng.random()
        if chance < _BAD_SHARE:
            status, body, kind = self._rng.choice(_BAD)
            return Request("bad", "/predict", body, status, {"Content-Type": kind})
        if chance < _BAD_SHARE + _LIST_SHARE:
            return Request("list", "/predict/batch", {"texts": self.texts(self._rng.randint(2, 16))})
        return Request("single", "/predict", {"text": self.texts(1)[0]})

    def texts(self, number: int) -> list[str]:
        """Return texts as they come, popular ones more often."""
        return self._rng.choices(self._texts, cum_weights=self._weights, k=number)


@cache
def _stock() -> list[str]:
    """Texts of 1 to 6 sentences: half are one sentence, few are long."""
    rng = random.Random(5)
    pool = iter(sentences(3 * DISTINCT, seed=5))
    return [" ".join(next(pool) for _ in range(min(6, 1 + int(rng.expovariate(0.8))))) for _ in range(DISTINCT)]


@cache
def _weights() -> list[float]:
    """Cumulative, by rank."""
    return list(accumulate((rank + 1) ** -_ZIPF for rank in range(DISTINCT)))
