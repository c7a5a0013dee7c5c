"""Exits for an artifact: heads after some of its layers, which answer the texts that they are sure of."""

from training.exits.add import add_exits
from training.exits.thresholds import describe_exits

__all__ = ["add_exits", "describe_exits"]
