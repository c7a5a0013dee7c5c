"""Which texts run when: queue, admission, fairness, cost model and the loop around them. Knows nothing about models."""

from .admission import Elsewhere, Wait
from .cost import CostModel
from .entry import Entry, padded_tokens, tokens_of
from .executor import BatchExecutor
from .fairness import Callers
from .item import WorkItem
from .lane import Lane, RunBatch
from .limits import SchedulerLimits
from .queue import BatchQueue
from .scheduler import Scheduler
from .waiting import Waiting

__all__ = [
    "BatchExecutor",
    "BatchQueue",
    "Callers",
    "CostModel",
    "Elsewhere",
    "Entry",
    "Lane",
    "RunBatch",
    "Scheduler",
    "SchedulerLimits",
    "Wait",
    "Waiting",
    "WorkItem",
    "padded_tokens",
    "tokens_of",
]
