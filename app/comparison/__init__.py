"""Two versions of a model, compared: figures, intervals, tests of significance, and what they mean in words.

Pure: knows neither HTTP nor files nor models. It sees predictions and labels, and never a text.
"""

from .accuracy import Accuracies, paired_accuracies, unpaired_accuracies
from .counts import CountComparison, Shadow, VersionCounts, compare_counts, mean_of_buckets
from .latency import Latency
from .pairs import Change, Comparison, Confidence, Quantiles, compare
from .proportions import Difference, Share
from .words import describe, describe_counts

__all__ = [
    "Accuracies",
    "Change",
    "Comparison",
    "Confidence",
    "CountComparison",
    "Difference",
    "Latency",
    "Quantiles",
    "Shadow",
    "Share",
    "VersionCounts",
    "compare",
    "compare_counts",
    "describe",
    "describe_counts",
    "mean_of_buckets",
    "paired_accuracies",
    "unpaired_accuracies",
]
