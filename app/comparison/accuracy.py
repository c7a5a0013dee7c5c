"""How often each of two versions is right, and whether the difference can be chance."""

from dataclasses import dataclass

from .proportions import Difference, Share, paired_difference, unpaired_difference
from .significance import mcnemar, paired_texts_needed, two_proportions, unpaired_texts_needed


@dataclass(frozen=True, slots=True)
class Accuracies:
    """The shares of texts on which each version is right, and what the difference (B minus A) says.

    `p` is the probability of a difference at least as large if both versions are equally good. `texts_needed` is about
    how many labelled texts would show a difference of this size; for each version if they answered different texts. It
    is None if there is no difference.
    """

    a: Share
    b: Share
    difference: Difference
    p: float
    test: str
    texts_needed: int | None
    only_a: int | None = None  # texts on which only A is right, if both answered the same texts
    only_b: int | None = None

    @property
    def paired(self) -> bool:
        """Whether both versions answered the same texts."""
        return self.only_a is not None


def paired_accuracies(both: int, only_a: int, only_b: int, neither: int) -> Accuracies | None:
    """Compare versions that answered the same texts: counts of texts by who is right. None without texts."""
    texts = both + only_a + only_b + neither
    if not texts:
        return None
    return Accuracies(
        Share(both + only_a, texts),
        Share(both + only_b, texts),
        paired_difference(both, only_a, only_b, neither),
        mcnemar(only_a, only_b),
        "McNemar's exact test",
        paired_texts_needed(both, only_a, only_b, neither),
        only_a,
        only_b,
    )


def unpaired_accuracies(a: Share, b: Share) -> Accuracies:
    """Compare versions that answered different texts."""
    p, test = two_proportions(a, b)
    return Accuracies(a, b, unpaired_difference(a, b), p, test, unpaired_texts_needed(a, b))
