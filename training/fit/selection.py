"""Which checkpoint of a training is the best, and when to stop.

Both are read from the history of the run, so that a training that is resumed decides as one without an interruption.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from training.evaluation import ALL

Entry = Mapping[str, Any]


def merit(entry: Entry) -> tuple[float, float]:
    """Return how good an evaluation is: the mean macro F1 of the sets, and for equal ones, the lower mean loss."""
    sets = [figures for name, figures in entry["dev"].items() if name != ALL]
    return tuple(
        sum(figures[name] for figures in sets) / len(sets) * sign for name, sign in (("macro_f1", 1), ("loss", -1))
    )  # type: ignore[return-value]


def best(history: Sequence[Entry]) -> Entry | None:
    """Return the best evaluation, or None if there is none yet. Of equal ones it is the first."""
    return max((entry for entry in history if "dev" in entry), key=merit, default=None)


def is_over(history: Sequence[Entry], patience: int) -> bool:
    """Tell whether the last `patience` evaluations were all worse than one before; 0 means never."""
    evaluations = [entry for entry in history if "dev" in entry]
    if not patience or not evaluations:
        return False
    leader = max(range(len(evaluations)), key=lambda index: merit(evaluations[index]))
    return len(evaluations) - 1 - leader >= patience
