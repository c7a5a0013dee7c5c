"""The entries of one model. Those of different lanes never share a batch, but they share the slots. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

P_contra = TypeVar("P_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)


class RunBatch(Protocol[P_contra, R_co]):
    """Runs a batch in a thread."""

    def __call__(self, payloads: Sequence[P_contra], /, *, alone: bool = False) -> Sequence[R_co | Exception]:
        """Return a result or an error for each payload. `alone`: no other batch is expected to run meanwhile."""
        ...


@dataclass(slots=True, eq=False)
class Lane:
    """How a model runs, what it costs, and the entries that wait for it.

    `weight` is what a token costs, in tokens of a lane of weight 1. Only the queue changes `depth` and `by_length`.
    """

    run: RunBatch[Any, Any]
    skips_padding: bool = False
    weight: float = 1.0
    depth: int = field(default=0, init=False)
    # A heap for each length, in the order of `due`; only one, with the key 0, if padding is skipped.
    by_length: dict[int, list[tuple[float, int, Any]]] = field(default_factory=dict, init=False, repr=False)

    def cost_of(self, tokens: int) -> int:
        """Return what so many tokens cost, in tokens of a lane of weight 1."""
        return tokens if self.weight == 1 else max(1, round(tokens * self.weight))

    def heap_of(self, tokens: int) -> list[tuple[float, int, Any]]:
        """Return the heap for entries of this length."""
        return self.by_length.setdefault(0 if self.skips_padding else tokens, [])
