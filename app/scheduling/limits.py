"""What a scheduler is given: its bounds, and who counts what happens."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class SchedulerLimits:
    """The bounds of the queue and of a batch."""

    max_batch_size: int = 16
    max_batch_tokens: int = 512
    max_queue_texts: int = 4096
    max_wait_ms: float = 1000.0
    run_timeout_s: float = 30.0


class Observer(Protocol):
    """Counts what happens."""

    def batch_finished(self, texts: int, tokens: int, queue_s: float, run_s: float, requests: Sequence[Any]) -> None:
        """A batch of `texts` ran for `run_s`; its first text had waited `queue_s`. `requests`: see `Waiting`."""

    def refused(self, reason: str) -> None:
        """A request was refused."""
