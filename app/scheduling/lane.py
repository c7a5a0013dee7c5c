"""The entries of a model, or of a part of one. Those of different lanes share the slots, but never a batch. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

P = TypeVar("P")
R_co = TypeVar("R_co", covariant=True)

_FIRST_SHARE = 0.5  # of tokens that go on, before any batch has run
_KEPT_TOKENS = 5000  # that the estimate of this share remembers, about


class RunBatch(Protocol[P, R_co]):
    """Runs a batch in a thread."""

    def __call__(self, payloads: Sequence[P], /, *, alone: bool = False) -> Sequence[R_co | P | Exception]:
        """Return a result or an error for each payload, or what goes on as the payload in the next lane.

        `alone`: no other batch is expected to run meanwhile.
        """
        ...


@dataclass(slots=True, eq=False)
class Lane:
    """How a model, or a part of one, runs, what it costs, and the entries that wait for it.

    `weight` is what a token costs, in tokens of a lane of weight 1. An entry whose result is of the type `unfinished`
    goes on in the lane `next`. Only the queue changes `depth` and `by_length`.
    """

    run: RunBatch[Any, Any]
    skips_padding: bool = False
    weight: float = 1.0
    next: "Lane | None" = None
    unfinished: type | None = None
    going_on: float = field(default=_FIRST_SHARE, init=False)  # the share of tokens that goes on
    depth: int = field(default=0, init=False)
    # A heap for each length, in the order of `due`; only one, with the key 0, if padding is skipped.
    by_length: dict[int, list[tuple[float, int, Any]]] = field(default_factory=dict, init=False, repr=False)

    def cost_of(self, tokens: int) -> int:
        """Return what so many tokens cost, in tokens of a lane of weight 1."""
        return tokens if self.weight == 1 else max(1, round(tokens * self.weight))

    def expected_cost(self, tokens: int, most_lanes: int = 0) -> int:
        """Return as `cost_of`, with the part that is expected to go on in the next lanes.

        The entry goes through at most `most_lanes` lanes; 0 means as many as it needs.
        """
        if self.next is None or most_lanes == 1:
            return self.cost_of(tokens)
        return self.cost_of(tokens) + round(self.going_on * self.next.expected_cost(tokens, max(0, most_lanes - 1)))

    def observe(self, tokens: int, going_on: int) -> None:
        """Of the tokens of a batch, so many go on."""
        if self.next:
            self.going_on += tokens / (tokens + _KEPT_TOKENS) * (going_on / tokens - self.going_on)

    def after(self, result: object) -> "Lane | None":
        """Return the lane in which an entry with this result goes on; None if the result is final."""
        return self.next if self.unfinished and isinstance(result, self.unfinished) else None

    def fitting(self, tokens: Sequence[int], most_texts: int, most_tokens: int) -> int:
        """Return how many of these texts fit into a batch, at least 1."""
        longest = total = 0
        for count, length in enumerate(tokens[:most_texts]):
            longest = max(longest, length)
            total += length
            if count and (total if self.skips_padding else longest * (count + 1)) > most_tokens:
                return count
        return min(len(tokens), most_texts)

    def heap_of(self, tokens: int) -> list[tuple[float, int, Any]]:
        """Return the heap for entries of this length."""
        return self.by_length.setdefault(0 if self.skips_padding else tokens, [])


def observe_shares(lanes: Sequence[Lane], tokens: int, free: int, going_on: int) -> None:
    """A batch of so many tokens ran in each of these lanes.

    After the last one, `going_on` of `free` tokens go on. The others have been through as many lanes as they may, which
    says nothing about the lane.
    """
    for lane in lanes[:-1]:
        lane.observe(tokens, tokens)
    if free:
        lanes[-1].observe(free, going_on)
