"""The slots, and the batches that run in them. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from .item import WorkItem

P = TypeVar("P")
R = TypeVar("R")

# After this many batches in a row that never overlapped there is probably one client, with one request at a time. Two
# clients hardly ever get this far.
_LONE_RUNS = 16


class Cancellable(Protocol):
    """A timer."""

    def cancel(self) -> None:
        """It must not fire."""


@dataclass(frozen=True, slots=True, eq=False)
class RunningBatch(Generic[P, R]):
    """A batch in a slot: its start, its predicted end, and the timer that fires if it hangs."""

    items: list[WorkItem[P, R]]
    started_s: float
    end_s: float
    watchdog: Cancellable
    alone: bool  # probably no other batch will run meanwhile


class Slots(Generic[P, R]):
    """`count` slots, of which `idle` run nothing."""

    def __init__(self, count: int) -> None:
        self.count = self.idle = count
        self._running: set[RunningBatch[P, R]] = set()
        self._lone_runs = 0  # since two batches last overlapped

    @property
    def items(self) -> Iterator[WorkItem[P, R]]:
        """All items that run now."""
        return (item for batch in list(self._running) for item in batch.items)

    def start(
        self, items: list[WorkItem[P, R]], started_s: float, end_s: float, watchdog: Cancellable
    ) -> RunningBatch[P, R]:
        """Take an idle slot for a batch that should end at `end_s`."""
        if self._running:
            self._lone_runs = 0
        batch = RunningBatch(items, started_s, end_s, watchdog, alone=self._lone_runs >= _LONE_RUNS)
        self.idle -= 1
        self._running.add(batch)
        return batch

    def finish(self, batch: RunningBatch[P, R]) -> bool:
        """Free the slot of a batch that has ended; return False if it was free already."""
        if batch not in self._running:
            return False
        batch.watchdog.cancel()
        self._running.discard(batch)
        self.idle += 1
        self._lone_runs += 1
        return True

    def remaining_ms(self, now_s: float) -> float:
        """Return how many milliseconds the running batches still need, added up."""
        # A late batch is assumed to need as long again as it is late: a slot that hangs will not be free soon.
        return sum(abs(batch.end_s - now_s) for batch in self._running) * 1000
