"""Exits for an artifact: heads after some of its layers, which answer the texts that they are sure of."""

from training.exits.add import FEWEST_TEXTS, add_exits, count_layers, usual_exits
from training.exits.thresholds import describe_exits

__all__ = ["FEWEST_TEXTS", "add_exits", "count_layers", "describe_exits", "usual_exits"]
