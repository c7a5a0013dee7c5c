"""What a replica costs, and how long texts are. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..scheduling import CostModel
from .simulation import Floats

# Numbers of tokens are about gamma distributed. This shape gives sentences: p95 is about twice the mean.
_SHAPE = 4.2
_FEWEST = 3  # a word between the two tokens that mark the beginning and the end


@dataclass(frozen=True, slots=True)
class Costs:
    """What one process needs on one core of a machine.

    A batch takes `base_ms + token_ms · tokens` in its slot. The event loop needs `request_ms` of processor time for a
    request that the model answers, and `hit_ms` for one that the cache answers: HTTP, checks, tokenising, the queue.
    `extra_ms` is what else a request takes, without using a core of the service: the network and the proxy.
    """

    base_ms: float
    token_ms: float
    request_ms: float
    hit_ms: float
    memory_mb: float
    extra_ms: float = 0.0

    @property
    def model(self) -> CostModel:
        """Return the cost model of the scheduler with these figures."""
        return CostModel(self.base_ms, self.token_ms)


# Of two cores of an AMD EPYC: docs/scaling.md says where each figure is from.
REFERENCE = Costs(base_ms=0.9, token_ms=0.0622, request_ms=0.4, hit_ms=0.15, memory_mb=160)


class Lengths:
    """A distribution of numbers of tokens, as a sample of it."""

    def __init__(self, sample: Sequence[int]) -> None:
        self._sample: Floats = np.array(sample, dtype=np.float64)

    @classmethod
    def around(cls, mean: float, most: int) -> "Lengths":
        """Return lengths of sentences with this mean; none has more than `most` tokens."""
        sample = np.random.default_rng(1).gamma(_SHAPE, mean / _SHAPE, 10_000)
        return cls(np.clip(np.rint(sample), min(_FEWEST, most), most).astype(int).tolist())

    @classmethod
    def of_shares(cls, edges: Sequence[float], shares: Sequence[float], most: int) -> "Lengths":
        """Return lengths with these shares between the edges: inside a bin, all are equally frequent."""
        lows = [_FEWEST, *edges]
        highs = [*edges, max(most + 1, edges[-1] + 1)]
        counts = np.rint(np.array(shares) * 10_000).astype(int)
        parts = [
            np.linspace(low, high, count, endpoint=False)
            for low, high, count in zip(lows, highs, counts, strict=True)
            if count
        ]
        return cls(np.clip(np.floor(np.concatenate(parts)), 1, most).astype(int).tolist())

    @property
    def mean(self) -> float:
        """Return the mean number of tokens."""
        return float(self._sample.mean())

    def draw(self, number: int, rng: np.random.Generator) -> list[int]:
        """Return so many numbers of tokens."""
        return [int(tokens) for tokens in rng.choice(self._sample, number)]

    def alone_ms(self, costs: Costs) -> Floats:
        """Return the milliseconds that a request takes if nothing else runs, for each length of the sample."""
        return self._sample * costs.token_ms + (costs.base_ms + costs.request_ms + costs.extra_ms)
