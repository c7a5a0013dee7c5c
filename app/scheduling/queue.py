"""The queue: which texts go into the next batch, and how much work is ahead of a new one. Pure and synchronous.

It uses no clock, no threads and no futures. Time is an argument, so tests can call every rule directly.

A *slot* runs one batch at a time. An entry is *due* once its turn in the queue has come; until then its `due_s` is
infinite. A *turn* is the part of a list that is due at the same time: as many texts as fit into one batch per slot.
"""

import heapq
import itertools
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from .cost import CostModel

_SWEEP = 64  # stale entries that the heaps may hold beyond the number of queued ones
_WORTH = 0.5  # what padding may cost, as a share of the cost of the run that it saves


@dataclass(slots=True, eq=False)
class Client:
    """The entries of one caller: how many are due, and which become due next, in order.

    Only `fairness` and `scheduler` change `waiting`.
    """

    waiting: deque[Any] = field(default_factory=deque)
    due: int = 0


@dataclass(slots=True, eq=False)
class Entry:
    """One text in the queue: its cost and the time at which it is due. Only the queue sets `queued` and `overdue`."""

    tokens: int
    due_s: float
    client: Client | None = field(default=None, init=False)
    queued: bool = field(default=False, init=False)
    overdue: bool = field(default=False, init=False)


E = TypeVar("E", bound=Entry)


def padded_tokens(batch: Sequence[Entry]) -> int:
    """Return the tokens of a batch in which every text is padded to the longest."""
    return max(entry.tokens for entry in batch) * len(batch)


class BatchQueue(Generic[E]):
    """Entries that wait for a slot, in the order in which they are due.

    They are grouped by length unless the model skips padding.

    A single text is due when it arrives. Of a list, only the first turn is. Whenever one of its texts starts, the next
    one becomes due. Lists thus take turns with each other and with single texts, even if the cost model is wrong (round
    robin, as in Shreedhar and Varghese's deficit round robin, 1995). Entries that are not due run when nothing else
    does. If the model does not skip padding, they also fill up the batch of an entry of similar length.
    """

    def __init__(
        self, cost: CostModel, *, max_batch_size: int, max_batch_tokens: int, skips_padding: bool = False
    ) -> None:
        self._cost = cost
        self._skips_padding = skips_padding
        self._max_size = max_batch_size
        self._max_tokens = max_batch_tokens
        self._by_length: dict[int, list[tuple[float, int, E]]] = {}
        self._not_due: list[tuple[float, int, E]] = []
        self._order = itertools.count()
        self._depth = self._tokens = 0
        self._stale = 0  # entries removed since the last sweep
        self._overdue_entries = 0
        self._overdue_tokens = 0

    def __len__(self) -> int:
        return self._depth

    def batch_ms(self) -> float:
        """Return the milliseconds of a batch that is as full as its limits and the queue allow."""
        full = self._tokens * min(1.0, self._max_size / self._depth) if self._depth else 0.0
        return self._cost.predict(round(min(self._max_tokens, full)))

    def tokens_of(self, batch: Sequence[Entry]) -> int:
        """Return the tokens that the model computes for a batch."""
        return sum(entry.tokens for entry in batch) if self._skips_padding else padded_tokens(batch)

    def first_turn(self, tokens: Sequence[int]) -> int:
        """Return how many texts of a list fit into its first batch, at least 1."""
        longest = total = 0
        for count, length in enumerate(tokens[: self._max_size]):
            longest = max(longest, length)
            total += length
            if count and (total if self._skips_padding else longest * (count + 1)) > self._max_tokens:
                return count
        return min(len(tokens), self._max_size)

    def in_turns_ms(self, tokens: Sequence[int], turns: float, now_s: float) -> float:
        """Return the milliseconds of one slot until a list that arrives now is done; it takes `turns` turns.

        In each turn, everything that is due runs before it. No entry of the queue counts more than once, though.
        """
        others_ms = min(self._milliseconds(self._depth, self._tokens), math.ceil(turns) * self.backlog_ms(now_s))
        return others_ms + self._milliseconds(len(tokens), sum(tokens))

    def waiting_ms(self, client: Client) -> float:
        """Return the milliseconds of one slot for the entries of a client that become due before any newer one."""
        return self._milliseconds(len(client.waiting), sum(entry.tokens for entry in client.waiting))

    def push(self, entry: E) -> None:
        item = (entry.due_s, next(self._order), entry)
        heapq.heappush(self._by_length.setdefault(0 if self._skips_padding else entry.tokens, []), item)
        heapq.heappush(self._not_due, item)
        entry.queued = True
        if entry.client and entry.due_s < math.inf:
            entry.client.due += 1
        self._depth += 1
        self._tokens += entry.tokens

    def discard(self, entry: E) -> None:
        """Remove an entry; do nothing if it is not queued."""
        if not entry.queued:
            return
        entry.queued = False
        if entry.client and entry.due_s < math.inf:
            entry.client.due -= 1
        self._depth -= 1
        self._tokens -= entry.tokens
        self._stale += 1
        if entry.overdue:
            entry.overdue = False
            self._overdue_entries -= 1
            self._overdue_tokens -= entry.tokens
        # The heaps drop a removed entry only when it reaches their top, which may be never.
        if self._stale > self._depth + _SWEEP:
            self._sweep()

    def hasten(self, entry: E, now_s: float) -> None:
        """Make a queued entry due now: its turn has come, or another request wants the same text."""
        if entry.queued and entry.due_s > now_s:
            self.discard(entry)
            entry.due_s = now_s
            self.push(entry)

    def take(self, idle_slots: int = 1) -> list[E]:
        """Form the next batch and remove it from the queue; it is empty if the queue is.

        The queue is shared evenly between `idle_slots`. The entry that has been due longest starts the batch. If the
        model skips padding, the entries that are due next join it; otherwise those of similar length do.
        """
        anchor = self._longest_due()
        if anchor is None:
            return []
        room = min(self._max_size, math.ceil(self._depth / idle_slots))
        return self._next_due(room) if self._skips_padding else self._alike(anchor, room)

    def _next_due(self, room: int) -> list[E]:
        heap = self._by_length[0]
        batch: list[E] = []
        tokens = 0
        while heap and len(batch) < room:
            entry = heap[0][2]
            not_due = entry.due_s == math.inf and batch and batch[0].due_s < math.inf
            if entry.queued and batch and (not_due or tokens + entry.tokens > self._max_tokens):
                break
            heapq.heappop(heap)
            if entry.queued:
                tokens += entry.tokens
                self.discard(entry)
                batch.append(entry)
        return batch

    def _alike(self, anchor: E, room: int) -> list[E]:
        """Form a batch of similar lengths around `anchor`; the nearest lengths join first.

        A length joins only if its padding costs less than half of the run that it saves. Otherwise it is better to let
        it wait for texts nearer to its length (`python -m perf.profile.simulate`).
        """
        batch: list[E] = []
        longest = 0
        for length in sorted(self._by_length, key=lambda length: (abs(length - anchor.tokens), length)):
            widest = max(longest, length)
            count = min(len(self._by_length[length]), room - len(batch), self._max_tokens // widest - len(batch))
            if not batch:
                count = max(1, count)
            padding = (widest - longest) * len(batch) + (widest - length) * count
            if count <= 0 or padding * self._cost.token_ms > _WORTH * self._cost.base_ms:
                continue
            if taken := self._pop(length, count):
                batch += taken
                longest = widest
            if len(batch) >= room:
                break
        return batch

    def backlog_ms(self, now_s: float) -> float:
        """Return the milliseconds of one slot for all entries that are due: the work ahead of a new text."""
        while self._not_due and self._not_due[0][0] <= now_s:
            entry = heapq.heappop(self._not_due)[2]
            if entry.queued and not entry.overdue:
                entry.overdue = True
                self._overdue_entries += 1
                self._overdue_tokens += entry.tokens
        return self._milliseconds(self._overdue_entries, self._overdue_tokens)

    def _milliseconds(self, texts: int, tokens: int) -> float:
        return self._cost.token_ms * tokens + self._cost.base_ms * math.ceil(texts / self._max_size)

    def _pop(self, length: int, count: int) -> list[E]:
        heap = self._by_length[length]
        taken: list[E] = []
        while heap and len(taken) < count:
            entry = heapq.heappop(heap)[2]
            if entry.queued:
                self.discard(entry)
                taken.append(entry)
        if not heap:
            self._by_length.pop(length, None)
        return taken

    def _sweep(self) -> None:
        self._stale = 0
        self._not_due = [item for item in self._not_due if item[2].queued and not item[2].overdue]
        heapq.heapify(self._not_due)
        for heap in self._by_length.values():
            heap[:] = [item for item in heap if item[2].queued]
            heapq.heapify(heap)

    def _longest_due(self) -> E | None:
        first: tuple[float, int, E] | None = None
        for length, heap in list(self._by_length.items()):
            while heap and not heap[0][2].queued:
                heapq.heappop(heap)
            if not heap:
                del self._by_length[length]
            elif first is None or heap[0] < first:
                first = heap[0]
        return first[2] if first else None
