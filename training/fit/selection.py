"""Which checkpoint of a training is the best, and when to stop.

Both are read from the history of the run, so that a training that is resumed decides as one without an interruption.

On few rows, most differences between two evaluations are chance: a model that has hardly learned anything can be right
on all of 18 rows. So the best is the last one that is as good as the highest score, within the margin of error. The
later ones have seen more, with a lower learning rate at the end.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from training.evaluation import ALL

Entry = Mapping[str, Any]


def score(entry: Entry) -> float:
    """Return how good an evaluation is: the mean macro F1 of the sets."""
    return _mean(entry, "macro_f1")


def best(history: Sequence[Entry]) -> Entry | None:
    """Return the best evaluation, or None if there is none yet."""
    evaluations = [entry for entry in history if "dev" in entry]
    if not evaluations:
        return None
    highest = max(evaluations, key=lambda entry: (score(entry), -_mean(entry, "loss")))
    return next(
        entry
        for entry in reversed(evaluations)
        if entry is highest or score(highest) - score(entry) < _mean(highest, "margin")
    )


def is_over(history: Sequence[Entry], patience: int) -> bool:
    """Tell whether the last `patience` evaluations were all worse than one before; 0 means never."""
    evaluations = [entry for entry in history if "dev" in entry]
    if not patience or not evaluations:
        return False
    leader = next(index for index, entry in enumerate(evaluations) if entry is best(evaluations))
    return len(evaluations) - 1 - leader >= patience


def _mean(entry: Entry, figure: str) -> float:
    sets = [figures.get(figure, 0.0) for name, figures in entry["dev"].items() if name != ALL]
    return float(sum(sets) / len(sets))
