"""Runs two models on the same texts, in turn, so that both meet the same machine."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from ...comparison import Comparison, compare
from ...tables import Result, Scorer
from ...types import Prediction
from ..console import Advance
from ..exits import Failure

_BATCH_TEXTS = 256
_LONE_TEXTS = 200  # that are timed one by one


@dataclass(frozen=True, slots=True)
class Tried:
    """A model, and how many texts per second it did in batches."""

    model: str
    texts_per_s: float


@dataclass(frozen=True, slots=True)
class Trial:
    """What came out. `rows` are the numbers of the compared rows, from 1; `errors` rows could not be compared."""

    a: Tried
    b: Tried
    comparison: Comparison
    rows: Sequence[int]
    errors: int


def try_both(a: Scorer, b: Scorer, texts: Sequence[str], truth: Sequence[str | None], advance: Advance) -> Trial:
    """Predict all texts with both models, and compare. Raises `Failure` if there is no text that both can read."""
    scorers = (a, b)
    results: tuple[list[Result], list[Result]] = ([], [])
    seconds = [0.0, 0.0]
    for number, start in enumerate(range(0, len(texts), _BATCH_TEXTS)):
        batch = texts[start : start + _BATCH_TEXTS]
        for which in _order(number):
            begun_s = time.perf_counter()
            results[which].extend(scorers[which].score(batch))
            seconds[which] += time.perf_counter() - begun_s
        advance(start + len(batch))
    both = [
        (place, one, other)
        for place, (one, other) in enumerate(zip(*results, strict=True))
        if isinstance(one, Prediction) and isinstance(other, Prediction)
    ]
    if not both:
        raise Failure("there is no text that both models can read")
    latencies = _time_lone_texts(scorers, [texts[place] for place, _, _ in both])
    comparison = compare(
        [one for _, one, _ in both],
        [other for _, _, other in both],
        [truth[place] for place, _, _ in both],
        latencies_a_ms=latencies[0],
        latencies_b_ms=latencies[1],
    )
    tried = [
        Tried(str(scorer.description["model"]), len(texts) / max(spent_s, 1e-9))
        for scorer, spent_s in zip(scorers, seconds, strict=True)
    ]
    return Trial(tried[0], tried[1], comparison, [place + 1 for place, _, _ in both], len(texts) - len(both))


def _time_lone_texts(scorers: tuple[Scorer, Scorer], texts: Sequence[str]) -> tuple[list[float], list[float]]:
    """Return the milliseconds that each model takes for each text of a sample, one at a time."""
    sample = texts[:: -(-len(texts) // _LONE_TEXTS)]
    latencies: tuple[list[float], list[float]] = ([], [])
    for number, text in enumerate([sample[0], *sample]):
        for which in _order(number):
            begun_s = time.perf_counter()
            scorers[which].score([text])
            latencies[which].append((time.perf_counter() - begun_s) * 1000)
    return latencies[0][1:], latencies[1][1:]  # the first run after batches of many is not typical


def _order(number: int) -> tuple[int, int]:
    """Each model is the first one half of the time."""
    return (0, 1) if number % 2 == 0 else (1, 0)
