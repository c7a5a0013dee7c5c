"""Fairness between callers: self-clocked fair queueing (Golestani 1994). Pure and synchronous.

Virtual time is the work that each busy caller has had. An entry begins, in virtual time, when the earlier entries of
its caller end, or now if they have ended, and it ends when its own work is done. Entries run in the order of their
ends. So a caller that uses less than its share goes ahead of the backlog of any other, and callers that use more share
what is left, by work and not by texts.
"""

from collections import OrderedDict
from dataclasses import dataclass

# Callers without entries that are remembered, because they have had more work than the others.
_MAX_IDLE = 1024


@dataclass(slots=True, eq=False)
class Caller:
    """The entries of one caller in the queue. The queue counts `cost` and what is due, `Callers` the rest."""

    name: str
    end: int = 0  # in virtual time, of all of its entries that are due
    entries: int = 0
    work: int = 0  # of all entries
    cost: int = 0
    due_entries: int = 0
    due_cost: int = 0


class Callers:
    """The callers that have entries, and a bounded number of others. Work is in any unit, if it is always the same."""

    def __init__(self) -> None:
        self.now = 0  # virtual
        self._busy: dict[str, Caller] = {}
        self._idle: OrderedDict[str, Caller] = OrderedDict()
        self._work = 0
        # By the number of bits of a caller's work: how many callers, and their work in total.
        self._levels: dict[int, list[int]] = {}

    def __len__(self) -> int:
        return len(self._busy)

    def __contains__(self, name: str) -> bool:
        return name in self._busy

    def find(self, name: str) -> Caller:
        """Return the caller with this name; one that is new is kept once it has an entry."""
        return self._busy.get(name) or self._idle.get(name) or Caller(name)

    def next_end(self, caller: Caller, work: int) -> int:
        """Return the virtual time at which a new entry of a caller would end."""
        return max(self.now, caller.end) + work

    def charge(self, caller: Caller, work: int) -> int:
        """Return the virtual end of a new entry; the next one of its caller begins then."""
        caller.end = self.next_end(caller, work)
        return caller.end

    def refund(self, caller: Caller, work: int) -> None:
        """An entry that was charged will not run."""
        caller.end -= work

    def add(self, caller: Caller, work: int) -> None:
        """Count an entry that is queued."""
        if not caller.entries:
            self._idle.pop(caller.name, None)
            self._busy[caller.name] = caller
        self._count(caller, work, 1)

    def remove(self, caller: Caller, work: int) -> None:
        """An entry is no longer queued. A caller without entries is forgotten once it has no advantage from that."""
        self._count(caller, -work, -1)
        if not caller.entries:
            del self._busy[caller.name]
            self._idle[caller.name] = caller
            while self._idle and (len(self._idle) > _MAX_IDLE or next(iter(self._idle.values())).end <= self.now):
                self._idle.popitem(last=False)

    def forget_idle(self) -> None:
        """Nothing is queued, so nobody has to wait for the share of another."""
        self._idle.clear()

    def ahead(self, caller: Caller, work: int) -> int:
        """Return the work of other callers that runs before this much more work of `caller` is done, at most.

        Until then, each of them gets as much done as this caller.
        """
        if len(self._busy) <= bool(caller.entries):
            return 0
        most = self.next_end(caller, work) - self.now
        own = caller.work.bit_length() if caller.entries else -1
        total = 0
        for bits, (count, their_work) in self._levels.items():
            is_own = bits == own
            total += min(their_work - is_own * caller.work, most * (count - is_own))
        return total

    def has_its_share(self, caller: Caller) -> bool:
        """Return whether a caller has no more work in the queue than an equal share of it."""
        return caller.work * len(self._busy) <= self._work

    def _count(self, caller: Caller, work: int, entries: int) -> None:
        """Add to the entries and the work of a caller."""
        if caller.entries:
            level = self._levels[bits := caller.work.bit_length()]
            level[0] -= 1
            level[1] -= caller.work
            if not level[0]:
                del self._levels[bits]
        caller.entries += entries
        caller.work += work
        self._work += work
        if caller.entries:
            level = self._levels.setdefault(caller.work.bit_length(), [0, 0])
            level[0] += 1
            level[1] += caller.work
