"""The queue: which texts go into the next batch, and how much work is ahead of a new one. Pure and synchronous.

It uses no clock, no threads and no futures, so tests can call every rule directly.

A *slot* runs one batch at a time. An entry is *due* once it has a place in the order; until then its `due` is infinite.
A *turn* is the part of a list that is due at the same time: as many texts as fit into one batch per slot.
"""

import heapq
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from .cost import CostModel
from .fairness import Caller, Callers

_SWEEP = 64  # stale entries that the heaps may hold beyond the number of queued ones
_WORTH = 0.5  # what padding may cost, as a share of the cost of the run that it saves


@dataclass(slots=True, eq=False)
class Entry:
    """One text in the queue: its cost and its place in the order. Only the queue sets the other fields than `caller`.

    For an entry with a caller, the queue replaces a finite `due` by the virtual time of `fairness`.
    """

    tokens: int
    due: float
    caller: Caller | None = field(default=None, init=False)
    queued: bool = field(default=False, init=False)
    work: int = field(default=0, init=False)


E = TypeVar("E", bound=Entry)


def padded_tokens(batch: Sequence[Entry]) -> int:
    """Return the tokens of a batch in which every text is padded to the longest."""
    return max(entry.tokens for entry in batch) * len(batch)


class BatchQueue(Generic[E]):
    """Entries that wait for a slot, in the order in which they are due.

    They are grouped by length unless the model skips padding.

    Entries that are due run in the order of `fairness`. A single text is due when it arrives. Of a list, only the first
    turn is. Whenever one of its texts starts, the next one becomes due. Lists of a caller thus take turns with each
    other and with its single texts, even if the cost model is wrong (round robin, as in Shreedhar and Varghese's
    deficit round robin, 1995). Entries that are not due run when nothing else does. If the model does not skip padding,
    they also fill up the batch of an entry of similar length.
    """

    def __init__(
        self, cost: CostModel, *, max_batch_size: int, max_batch_tokens: int, skips_padding: bool = False
    ) -> None:
        self._cost = cost
        self._skips_padding = skips_padding
        self._max_size = max_batch_size
        self._max_tokens = max_batch_tokens
        self._by_length: dict[int, list[tuple[float, int, E]]] = {}
        self._order = itertools.count()
        self._depth = self._tokens = 0
        self._due_entries = self._due_tokens = 0
        self._stale = 0  # entries removed since the last sweep
        self.callers = Callers()

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

    def backlog_ms(self) -> float:
        """Return the milliseconds of one slot for all entries that are due."""
        return self._milliseconds(self._due_entries, self._due_tokens)

    def wait_ms(self, caller: Caller, tokens: int) -> float:
        """Return the milliseconds of one slot until a text of a caller that arrives now starts.

        First run the caller's own entries that are due, and meanwhile those of others.
        """
        others = self.callers.ahead(caller, self._work(tokens))
        return self._milliseconds(caller.due_entries, caller.due_tokens) + self._cost.token_ms * others

    def in_turns_ms(self, tokens: Sequence[int], turns: float, caller: Caller) -> float:
        """Return the milliseconds of one slot until a list that arrives now is done; it takes `turns` turns.

        In each turn, all of the caller's entries that are due run before it. No entry counts more than once, though.
        Meanwhile, other callers get as much work done as this one.
        """
        due_ms = self._milliseconds(caller.due_entries, caller.due_tokens)
        own_ms = min(self._milliseconds(caller.entries, caller.tokens), math.ceil(turns) * due_ms)
        # `ahead` includes the work of the caller that is due.
        work = sum(map(self._work, tokens)) + round((own_ms - min(own_ms, due_ms)) / self._cost.token_ms)
        others_ms = self._cost.token_ms * self.callers.ahead(caller, work)
        return own_ms + others_ms + self._milliseconds(len(tokens), sum(tokens))

    def push(self, entry: E) -> None:
        """Queue an entry; one that is due gets its place in the order of its caller."""
        is_due = entry.due < math.inf
        if entry.caller:
            entry.work = self._work(entry.tokens)
            entry.caller.tokens += entry.tokens
            if is_due:
                entry.due = self.callers.charge(entry.caller, entry.work)
                entry.caller.due_entries += 1
                entry.caller.due_tokens += entry.tokens
            self.callers.add(entry.caller, entry.work)
        item = (entry.due, next(self._order), entry)
        heapq.heappush(self._by_length.setdefault(0 if self._skips_padding else entry.tokens, []), item)
        entry.queued = True
        self._depth += 1
        self._tokens += entry.tokens
        self._due_entries += is_due
        self._due_tokens += entry.tokens * is_due

    def discard(self, entry: E) -> None:
        """Remove an entry that will not run; do nothing if it is not queued."""
        if entry.queued:
            if entry.caller and entry.due < math.inf:
                self.callers.refund(entry.caller, entry.work)
            self._remove(entry)

    def hasten(self, entry: E, caller: Caller) -> None:
        """Make a queued entry due for a caller, if it would run earlier: its turn has come, or `caller` joins it."""
        if entry.queued and (entry.due == math.inf or self.callers.next_end(caller, entry.work) < entry.due):
            self.discard(entry)
            entry.caller, entry.due = caller, 0.0
            self.push(entry)

    def take(self, idle_slots: int = 1) -> list[E]:
        """Form the next batch and remove it from the queue; it is empty if the queue is.

        The queue is shared evenly between `idle_slots`. The entry that is due first starts the batch. If the model
        skips padding, the entries that are due next join it; otherwise those of similar length do.
        """
        anchor = self._first_due()
        if anchor is None:
            self.callers.forget_idle()
            return []
        if anchor.caller and anchor.due < math.inf:
            self.callers.now = int(anchor.due)
        room = min(self._max_size, math.ceil(self._depth / idle_slots))
        return self._next_due(room) if self._skips_padding else self._alike(anchor, room)

    def _next_due(self, room: int) -> list[E]:
        heap = self._by_length[0]
        batch: list[E] = []
        tokens = 0
        while heap and len(batch) < room:
            entry = heap[0][2]
            not_due = entry.due == math.inf and batch and batch[0].due < math.inf
            if entry.queued and batch and (not_due or tokens + entry.tokens > self._max_tokens):
                break
            heapq.heappop(heap)
            if entry.queued:
                tokens += entry.tokens
                self._serve(entry)
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

    def _work(self, tokens: int) -> int:
        """Return the work of a text, in tokens: its own, and as many as its part of the fixed cost of a full batch."""
        fixed = self._cost.base_ms / (self._max_size * self._cost.token_ms)
        return tokens + round(min(self._max_tokens, fixed))

    def _serve(self, entry: E) -> None:
        if entry.caller and entry.due == math.inf:
            self.callers.charge(entry.caller, entry.work)
        self._remove(entry)

    def _remove(self, entry: E) -> None:
        is_due = entry.due < math.inf
        entry.queued = False
        if entry.caller:
            entry.caller.tokens -= entry.tokens
            entry.caller.due_entries -= is_due
            entry.caller.due_tokens -= entry.tokens * is_due
            self.callers.remove(entry.caller, entry.work)
        self._depth -= 1
        self._tokens -= entry.tokens
        self._due_entries -= is_due
        self._due_tokens -= entry.tokens * is_due
        self._stale += 1
        # The heaps drop a removed entry only when it reaches their top, which may be never.
        if self._stale > self._depth + _SWEEP:
            self._sweep()

    def _milliseconds(self, texts: int, tokens: int) -> float:
        return self._cost.token_ms * tokens + self._cost.base_ms * math.ceil(texts / self._max_size)

    def _pop(self, length: int, count: int) -> list[E]:
        heap = self._by_length[length]
        taken: list[E] = []
        while heap and len(taken) < count:
            entry = heapq.heappop(heap)[2]
            if entry.queued:
                self._serve(entry)
                taken.append(entry)
        if not heap:
            self._by_length.pop(length, None)
        return taken

    def _sweep(self) -> None:
        self._stale = 0
        for heap in self._by_length.values():
            heap[:] = [item for item in heap if item[2].queued]
            heapq.heapify(heap)

    def _first_due(self) -> E | None:
        first: tuple[float, int, E] | None = None
        for length, heap in list(self._by_length.items()):
            while heap and not heap[0][2].queued:
                heapq.heappop(heap)
            if not heap:
                del self._by_length[length]
            elif first is None or heap[0] < first:
                first = heap[0]
        return first[2] if first else None
