"""Sentences of many kinds, to compare two models on when no labelled texts are at hand."""

from itertools import product

_SUBJECTS = (
    "The film", "This phone", "Our waiter", "The book I borrowed from my sister last summer", "Their support team",
    "The hotel near the station", "My new coat", "The update that came out on Monday", "Her second album", "The soup",
)  # fmt: skip
_PREDICATES = (
    "is wonderful", "is terrible", "was not bad at all", "could have been better", "arrived on time",
    "costs twelve euros", "made my day", "broke within a week, and nobody answers my emails",
    "looks good but feels cheap", "was worth every minute that I waited for it", "is blue",
    "used to be great; now I would not recommend it to anyone", "has three parts", "is fine, I guess",
    "exceeded what I had hoped for", "gave me a headache", "is the worst of all those I have tried",
    "is open on Sundays", "deserves more attention than it gets", "was a waste of time and money",
)  # fmt: skip


def templates() -> list[str]:
    """Return 200 sentences."""
    return [f"{subject} {predicate}." for subject, predicate in product(_SUBJECTS, _PREDICATES)]
