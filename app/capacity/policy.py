"""Which texts form the next batch: the policy of the service, behind the interface that a simulation needs. Pure."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ..scheduling import FIRST, BatchQueue, CostModel, Entry, Lane, cost_of, observe_shares


@dataclass(slots=True, eq=False)
class Text(Entry):
    """A text on its way through a simulated replica, and how many parts of the model it still has to go through."""

    parts: int = field(default=1, init=False)
    arrived_s: float = field(default=0.0, init=False)
    queued_s: float = field(default=0.0, init=False)
    started_s: float = field(default=math.inf, init=False)
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

    def costs_of(self, batch: Sequence[Text]) -> list[int]:
        """Return what each run for a batch costs, in tokens and including padding. They come one after the other."""

    def finish(self, batch: Sequence[Text]) -> Sequence[Text]:
        """Return the texts that are done after these runs; the others are in the queue again."""


class ServicePolicy:
    """The service: forms a batch when a slot is free.

    If the model skips padding, the texts that have waited longest share a batch. Otherwise texts of similar length do.
    A text that has to go on does so before those that are new, and one that is alone in its batch at once.
    """

    def __init__(
        self, cost: CostModel, size: int, tokens: int, *, skips_padding: bool = True, parts: Sequence[float] = (1.0,)
    ) -> None:
        """A batch has at most `size` texts and `tokens` tokens. `parts` is what a token costs in each part."""
        self._queue: BatchQueue[Text] = BatchQueue(cost, max_batch_size=size, max_batch_tokens=tokens)
        lane = None
        for weight in reversed(parts):
            lane = Lane(_run, skips_padding, weight, lane)
        assert lane
        self._lane = lane

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

    def costs_of(self, batch: Sequence[Text]) -> list[int]:
        """Return what each run for a batch costs; see `Policy`."""
        if len(batch) > 1:
            return [cost_of(batch)]
        return [lane.cost_of(batch[0].tokens) for lane in self._through(batch[0])]

    def finish(self, batch: Sequence[Text]) -> Sequence[Text]:
        """Return the texts that are done; see `Policy`."""
        lanes = [batch[0].lane] if len(batch) > 1 else [*self._through(batch[0])]
        for text in batch:
            text.parts -= len(lanes)
        going_on = [text for text in batch if text.parts]
        tokens = sum(text.tokens for text in batch)
        observe_shares(lanes, tokens, tokens, sum(text.tokens for text in going_on))
        for text in going_on:
            assert text.lane.next
            text.lane, text.due = text.lane.next, FIRST
            self._queue.push(text)
        return [text for text in batch if not text.parts]

    @staticmethod
    def _through(text: Text) -> Iterator[Lane]:
        """Return the lanes that a text still has to go through."""
        lane: Lane | None = text.lane
        for _ in range(text.parts):
            assert lane
            yield lane
            lane = lane.next
