"""Which texts run when: queue, admission, fairness, cost model and the loop around them. Knows nothing about models."""

from .admission import NOWHERE, Elsewhere, Wait
from .cost import CostModel
from .entry import FIRST, Entry, cost_of, padded_tokens, tokens_of
from .executor import BatchExecutor
from .fairness import Callers
from .item import WorkItem
from .lane import Lane, RunBatch, observe_shares
from .limits import Observer as BatchObserver
from .limits import SchedulerLimits
from .queue import BatchQueue
from .scheduler import Scheduler
from .waiting import Waiting

__all__ = [
    "FIRST",
    "NOWHERE",
    "BatchExecutor",
    "BatchObserver",
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
    "cost_of",
    "observe_shares",
    "padded_tokens",
    "tokens_of",
]
