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
class Depths:
    """The parts of a model with exits: the share of its time that each takes, and the share of texts that end there.

    A model without exits has one part.
    """

    costs: tuple[float, ...] = (1.0,)
    ends: tuple[float, ...] = (1.0,)

    @property
    def mean(self) -> float:
        """Return the share of the whole model's time that a text takes on average."""
        return float(np.dot(np.cumsum(self.costs), self.ends))

    def draw(self, number: int, rng: np.random.Generator) -> list[int]:
        """Return how many parts each of so many texts goes through."""
        return [int(parts) for parts in 1 + rng.choice(len(self.ends), number, p=np.divide(self.ends, sum(self.ends)))]


WHOLE = Depths()


@dataclass(frozen=True, slots=True)
class Costs:
    """What one process needs on one core of a machine.

    A batch that goes through all layers takes `base_ms + token_ms · tokens` in its slot; `depths` says how many do. The
    event loop needs `request_ms` of processor time for a request that the model answers, and `hit_ms` for one that the
    cache answers: HTTP, checks, tokenising, the queue. `extra_ms` is what else a request takes, without using a core of
    the service: the network and the proxy. `delays_ms` is a sample of the differences between measured and usual times
    of single requests, with the median 0: other programs, memory, interrupts.
    """

    base_ms: float
    token_ms: float
    request_ms: float
    hit_ms: float
    memory_mb: float
    extra_ms: float = 0.0
    depths: Depths = WHOLE
    delays_ms: tuple[float, ...] = (0.0,)

    @property
    def delay_p99_ms(self) -> float:
        """Return how much longer than usual the slowest hundredth of the measured requests took, at least."""
        return float(np.percentile(self.delays_ms, 99))

    @property
    def model(self) -> CostModel:
        """Return the cost model of the scheduler with these figures: each part has its share of the fixed time."""
        return CostModel(self.base_ms / len(self.depths.costs), self.token_ms)


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
        """Return the milliseconds that a request takes if no other is there, for each length of the sample."""
        rng = np.random.default_rng(2)
        parts = np.array(costs.depths.draw(len(self._sample), rng))
        shares = np.cumsum(costs.depths.costs)[parts - 1]
        base_ms = costs.model.base_ms * parts
        delays_ms = rng.choice(costs.delays_ms, len(self._sample))
        rest_ms = costs.request_ms + costs.extra_ms
        alone_ms: Floats = self._sample * costs.token_ms * shares + base_ms + delays_ms + rest_ms
        return alone_ms
