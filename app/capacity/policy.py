"""Which texts form the next batch: the policy of the service, behind the interface that a simulation needs. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ..scheduling import BatchQueue, CostModel, Entry, Lane, tokens_of


@dataclass(slots=True, eq=False)
class Text(Entry):
    """A text on its way through a simulated replica. `due` is when it arrived in the queue."""

    arrived_s: float = field(default=0.0, init=False)
    started_s: float = field(default=0.0, init=False)
    run_s: float = field(default=0.0, init=False)


def _run(payloads: Sequence[object], *, alone: bool = False) -> Sequence[object]:
    raise NotImplementedError("nothing runs here: time is computed")


LANE = Lane(_run)


class Policy(Protocol):
    """Decides which texts form the next batch."""

    def push(self, text: Text) -> None:
        """Add a text to the queue."""

    def take(self, now_s: float, idle_slots: int, slots: int, busy_ms: float) -> list[Text]:
        """Return the next batch, or an empty list. The slots that run need `busy_ms` more, added up."""

    def due_s(self) -> float:
        """When `take` may return a batch even if nothing arrives or finishes; infinite if never."""

    def backlog_ms(self) -> float:
        """Return the milliseconds of one slot for all texts in the queue, as far as the policy knows."""

    def tokens_of(self, batch: Sequence[Text]) -> int:
        """Return the tokens that the model runs for a batch, including padding."""


class ServicePolicy:
    """The service: forms a batch when a slot is free.

    If the model skips padding, the texts that have waited longest share a batch. Otherwise texts of similar length do.
    """

    def __init__(self, cost: CostModel, size: int, tokens: int, *, skips_padding: bool = True) -> None:
        """A batch has at most `size` texts and `tokens` tokens."""
        self._queue: BatchQueue[Text] = BatchQueue(cost, max_batch_size=size, max_batch_tokens=tokens)
        self._lane = Lane(_run, skips_padding=skips_padding)

    def push(self, text: Text) -> None:
        """Add a text to the queue."""
        text.lane = self._lane
        self._queue.push(text)

    def take(self, now_s: float, idle_slots: int, slots: int, busy_ms: float) -> list[Text]:  # noqa: ARG002
        """Return the next batch; see `Policy`."""
        return self._queue.take(slots, busy_ms)

    def due_s(self) -> float:
        """Return infinity: the service has no timer."""
        return math.inf

    def backlog_ms(self) -> float:
        """Return what the service predicts for its queue."""
        return self._queue.backlog_ms()

    def tokens_of(self, batch: Sequence[Text]) -> int:
        """Return the tokens that the model runs."""
        return tokens_of(batch)
