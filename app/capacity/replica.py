"""A simulated replica: its slots, and the event loop that shares the cores with them. Pure."""

from dataclasses import dataclass, field

from .policy import Policy, Text


@dataclass(slots=True, eq=False)
class Batch:
    """Texts that run together."""

    texts: list[Text]
    left_s: float  # of its work
    event: int = 0  # the one that counts, of those that may end it


@dataclass(slots=True, eq=False)
class Replica:
    """One process. `advance` comes before every change."""

    policy: Policy
    slots: int
    free_s: float = 0.0  # when the event loop has done all that it has to do by now
    in_progress: int = 0
    woken: bool = False  # will look at its queue, at the same time
    running: list[Batch] = field(default_factory=list)
    seen_s: float = 0.0  # the time at which `left_s` of the batches is right

    def advance(self, now_s: float) -> None:
        """Let the batches run until now."""
        done_s = now_s - self.seen_s
        if len(self.running) == self.slots:
            done_s -= max(0.0, min(now_s, self.free_s) - self.seen_s) / self.slots
        for batch in self.running:
            batch.left_s -= done_s
        self.seen_s = now_s

    def end_s(self, batch: Batch) -> float:
        """Return when a batch ends, if nothing else arrives or finishes."""
        beside_s = max(0.0, self.free_s - self.seen_s)
        if not beside_s or len(self.running) < self.slots:
            return self.seen_s + batch.left_s
        share = 1 - 1 / self.slots
        if batch.left_s < beside_s * share:
            return self.seen_s + batch.left_s / share
        return self.free_s + batch.left_s - beside_s * share

    def busy_ms(self) -> float:
        """Return what the batches still need, added up."""
        return sum(batch.left_s for batch in self.running) * 1000

    def delay(self, work_ms: float) -> None:
        """Another program takes a core for a while."""
        if work_ms and len(self.running) == self.slots:
            for batch in self.running:
                batch.left_s += work_ms / 1000 / self.slots
