"""The queue: which texts go into the next batch, and how much work is ahead of a new one. Pure and synchronous.

It uses no clock, no threads and no futures, so tests can call every rule directly.

A *slot* runs one batch at a time. An entry is *due* once it has a place in the order; until then its `due` is infinite.
A *turn* is the part of a list that is due at the same time: as many texts as fit into one batch per slot.
"""

import heapq
import itertools
import math
from collections.abc import Sequence
from typing import Generic, TypeVar

from .cost import CostModel
from .entry import FIRST, Entry
from .fairness import Caller, Callers
from .lane import Lane

_SWEEP = 64  # stale entries that the heaps may hold beyond the number of queued ones
_WORTH = 0.5  # what padding may cost, as a share of the cost of the run that it saves


E = TypeVar("E", bound=Entry)


class BatchQueue(Generic[E]):
    """Entries that wait for a slot, in the order in which they are due.

    A batch has entries of one lane. They are grouped by length unless its model skips padding.

    Entries that are due run in the order of `fairness`. A single text is due when it arrives. Of a list, only the first
    turn is. Whenever one of its texts starts, the next one becomes due. Lists of a caller thus take turns with each
    other and with its single texts, even if the cost model is wrong (round robin, as in Shreedhar and Varghese's
    deficit round robin, 1995). Entries that are not due run when nothing else does. If the model does not skip padding,
    they also fill up the batch of an entry of similar length.

    An entry that has been through a part of its model is due `FIRST`, so it runs before all others. There are never
    more of them than have run in all slots at once.
    """

    def __init__(self, cost: CostModel, *, max_batch_size: int, max_batch_tokens: int) -> None:
        self._cost = cost
        self._max_size = max_batch_size
        self._max_tokens = max_batch_tokens
        self._lanes: dict[Lane, None] = {}  # those that may have entries
        self._order = itertools.count()
        self._depth = self._tokens = self._queued_cost = 0
        self._due_entries = self._due_cost = 0
        self._stale = 0  # entries removed since the last sweep
        self.callers = Callers()

    def __len__(self) -> int:
        return self._depth

    def batch_ms(self) -> float:
        """Return the milliseconds of a batch that is as full as its limits and the queue allow."""
        share = min(1.0, self._max_size / self._depth, self._max_tokens / self._tokens) if self._depth else 0.0
        return self._cost.predict(round(self._queued_cost * share))

    def first_turn(self, tokens: Sequence[int], lane: Lane) -> int:
        """Return how many texts of a list fit into its first batch, at least 1."""
        return lane.fitting(tokens, self._max_size, self._max_tokens)

    def backlog_ms(self) -> float:
        """Return the milliseconds of one slot for all entries that are due."""
        return self._milliseconds(self._due_entries, self._due_cost)

    def wait_ms(self, caller: Caller, cost: int) -> float:
        """Return the milliseconds of one slot until a text of a caller that arrives now starts.

        First run the caller's own entries that are due, and meanwhile those of others.
        """
        others = self.callers.ahead(caller, self._work(cost))
        return self._milliseconds(caller.due_entries, caller.due_cost) + self._cost.token_ms * others

    def in_turns_ms(self, costs: Sequence[int], turns: float, caller: Caller) -> float:
        """Return the milliseconds of one slot until a list that arrives now is done; it takes `turns` turns.

        In each turn, all of the caller's entries that are due run before it. No entry counts more than once, though.
        Meanwhile, other callers get as much work done as this one.
        """
        due_ms = self._milliseconds(caller.due_entries, caller.due_cost)
        own_ms = min(self._milliseconds(caller.entries, caller.cost), math.ceil(turns) * due_ms)
        # `ahead` includes the work of the caller that is due.
        work = sum(map(self._work, costs)) + round((own_ms - min(own_ms, due_ms)) / self._cost.token_ms)
        others_ms = self._cost.token_ms * self.callers.ahead(caller, work)
        return own_ms + others_ms + self._milliseconds(len(costs), sum(costs))

    def push(self, entry: E) -> None:
        """Queue an entry; one that is due gets its place in the order of its caller."""
        is_due, lane = entry.due < math.inf, entry.lane
        entry.cost = entry.expected_cost
        if entry.caller:
            entry.work = self._work(entry.cost)
            entry.caller.cost += entry.cost
            if is_due:
                end = self._charge(entry, entry.caller)
                entry.due = entry.due if entry.due == FIRST else end
                entry.caller.due_entries += 1
                entry.caller.due_cost += entry.cost
            self.callers.add(entry.caller, entry.work)
        self._lanes[lane] = None
        entry.place = next(self._order)
        heapq.heappush(lane.heap_of(entry.tokens), (entry.due, entry.place, entry))
        entry.queued = True
        lane.depth += 1
        self._depth += 1
        self._tokens += entry.tokens
        self._queued_cost += entry.cost
        self._due_entries += is_due
        self._due_cost += entry.cost * is_due

    def discard(self, entry: E) -> None:
        """Remove an entry that will not run; do nothing if it is not queued."""
        if entry.queued:
            if entry.caller and entry.due < math.inf:
                self.callers.refund(entry.caller, entry.work)
                entry.paid = 0
            self._remove(entry)

    def end(self, entry: E) -> None:
        """An entry needs no more parts of its model: its caller gets back what was charged for them."""
        if entry.caller:
            self.callers.refund(entry.caller, entry.paid)
        entry.paid = 0

    def hasten(self, entry: E, caller: Caller) -> None:
        """Make a queued entry due for a caller, if it would run earlier: its turn has come, or `caller` joins it."""
        if entry.queued and (entry.due == math.inf or self.callers.next_end(caller, entry.work) < entry.due):
            self.discard(entry)
            entry.caller, entry.due = caller, 0.0
            self.push(entry)

    def take(self, slots: int = 1, busy_ms: float = 0.0) -> list[E]:
        """Form the next batch and remove it from the queue; it is empty if the queue is.

        The batch gets the part of the queue with which all `slots` end at about the same time, if those that run need
        `busy_ms` more, added up. The entry that is due first starts it. If the model skips padding, the entries that
        are due next join it; otherwise those of similar length do.
        """
        anchor = self._first_due()
        if anchor is None:
            self.callers.forget_idle()
            return []
        if anchor.caller and FIRST < anchor.due < math.inf:
            self.callers.now = int(anchor.due)
        part = min(1.0, (1 + busy_ms / (self._cost.token_ms * self._queued_cost)) / slots)
        if anchor.lane.skips_padding:
            return self._next_due(anchor.lane, part * self._queued_cost)
        return self._alike(anchor, min(self._max_size, math.ceil(part * self._depth)))

    def _next_due(self, lane: Lane, most: float) -> list[E]:
        """Form a batch with a cost of about `most`: a text joins if at least half of it fits."""
        heap = lane.by_length[0]
        batch: list[E] = []
        tokens = cost = 0
        while heap and len(batch) < self._max_size:
            is_queued, entry = _is_queued(heap[0]), heap[0][2]
            not_due = entry.due == math.inf and batch and batch[0].due < math.inf
            is_full = tokens + entry.tokens > self._max_tokens or cost + entry.cost / 2 > most
            if is_queued and batch and (not_due or is_full):
                break
            heapq.heappop(heap)
            if is_queued:
                tokens += entry.tokens
                cost += entry.cost
                self._serve(entry)
                batch.append(entry)
        return batch

    def _alike(self, anchor: E, room: int) -> list[E]:
        """Form a batch of similar lengths around `anchor`; the nearest lengths join first.

        A length joins only if its padding costs less than half of the run that it saves. Otherwise it is better to let
        it wait for texts nearer to its length (`python -m perf.profile.simulate`).
        """
        batch: list[E] = []
        longest, lane = 0, anchor.lane
        for length in sorted(lane.by_length, key=lambda length: (abs(length - anchor.tokens), length)):
            widest = max(longest, length)
            count = min(len(lane.by_length[length]), room - len(batch), self._max_tokens // widest - len(batch))
            if not batch:
                count = max(1, count)
            padding = (widest - longest) * len(batch) + (widest - length) * count
            if count <= 0 or lane.weight * padding * self._cost.token_ms > _WORTH * self._cost.base_ms:
                continue
            if taken := self._pop(lane, length, count):
                batch += taken
                longest = widest
            if len(batch) >= room:
                break
        return batch

    def _work(self, cost: int) -> int:
        """Return the work of a text, in tokens: its own, and as many as its part of the fixed cost of a full batch."""
        fixed = self._cost.base_ms / (self._max_size * self._cost.token_ms)
        return cost + round(min(self._max_tokens, fixed))

    def _charge(self, entry: E, caller: Caller) -> int:
        """Charge a caller for an entry that will run, with the parts that it is expected to need, each only once."""
        end = self.callers.charge(caller, entry.work - entry.paid)
        entry.paid = entry.cost - entry.lane.cost_of(entry.tokens)
        return end

    def _serve(self, entry: E) -> None:
        if entry.caller and entry.due == math.inf:
            self._charge(entry, entry.caller)
        self._remove(entry)

    def _remove(self, entry: E) -> None:
        is_due = entry.due < math.inf
        entry.queued = False
        if entry.caller:
            entry.caller.cost -= entry.cost
            entry.caller.due_entries -= is_due
            entry.caller.due_cost -= entry.cost * is_due
            self.callers.remove(entry.caller, entry.work)
        entry.lane.depth -= 1
        self._depth -= 1
        self._tokens -= entry.tokens
        self._queued_cost -= entry.cost
        self._due_entries -= is_due
        self._due_cost -= entry.cost * is_due
        self._stale += 1
        # The heaps drop a removed entry only when it reaches their top, which may be never.
        if self._stale > self._depth + _SWEEP:
            self._sweep()

    def _milliseconds(self, texts: int, cost: int) -> float:
        return self._cost.token_ms * cost + self._cost.base_ms * math.ceil(texts / self._max_size)

    def _pop(self, lane: Lane, length: int, count: int) -> list[E]:
        heap = lane.by_length[length]
        taken: list[E] = []
        while heap and len(taken) < count:
            item = heapq.heappop(heap)
            if _is_queued(item):
                entry = item[2]
                self._serve(entry)
                taken.append(entry)
        if not heap:
            lane.by_length.pop(length, None)
        return taken

    def _sweep(self) -> None:
        self._stale = 0
        for heap in (heap for lane in self._lanes for heap in lane.by_length.values()):
            heap[:] = [item for item in heap if _is_queued(item)]
            heapq.heapify(heap)

    def _first_due(self) -> E | None:
        first: tuple[float, int, E] | None = None
        for lane in list(self._lanes):
            for length, heap in list(lane.by_length.items()):
                while heap and not _is_queued(heap[0]):
                    heapq.heappop(heap)
                if not heap:
                    del lane.by_length[length]
                elif first is None or heap[0] < first:
                    first = heap[0]
            if not lane.depth:
                del self._lanes[lane]  # its model may be gone for good
        return first[2] if first else None


def _is_queued(item: tuple[float, int, Entry]) -> bool:
    """Return whether an item of a heap is that of an entry that waits, and not what an earlier place of it left."""
    _, place, entry = item
    return entry.queued and entry.place == place
