"""Tests of whether a difference can be chance, and how many texts it takes to show one.

Sources: Q. McNemar, "Note on the sampling error of the difference between correlated proportions", Psychometrika 12
(1947), in its exact form, for the same texts; R. A. Fisher, "The Design of Experiments" (1935), and F. Yates,
"Contingency tables involving small numbers and the chi-squared test", J. R. Stat. Soc. Suppl. 1 (1934), for different
texts; R. J. Connor, "Sample size for testing differences in proportions for the paired-sample design", Biometrics 43
(1987), 207-211, and J. L. Fleiss, "Statistical Methods for Rates and Proportions" (1981), for the numbers of texts.
"""

import math
from statistics import NormalDist

from .proportions import Share, Z

LEVEL = 0.05  # a difference with a lower p counts as shown
POWER = 0.8  # how likely it is that so many texts show a difference that exists
_FEW = 5.0  # with fewer expected texts in a cell, the approximation of Yates is poor (Cochran 1954)
_Z_POWER = NormalDist().inv_cdf(POWER)
# Probabilities that differ by less are equal: they are computed in different ways.
_EQUAL = 1e-9


def mcnemar(only_a: int, only_b: int) -> float:
    """Return the exact two-sided p of McNemar's test: that so many texts of one kind are chance.

    Texts on which only one version is right are as likely to be those of A as those of B if both are equally good.
    """
    texts = only_a + only_b
    tail = [_log_choose(texts, count) - texts * math.log(2) for count in range(min(only_a, only_b) + 1)]
    return min(1.0, 2 * math.exp(_log_sum(tail)))


def two_proportions(a: Share, b: Share) -> tuple[float, str]:
    """Return the two-sided p that two shares of different texts are equal, and the name of the test."""
    right = a.count + b.count
    smallest = min(a.whole, b.whole) * min(right, a.whole + b.whole - right) / (a.whole + b.whole)
    if smallest < _FEW:
        return fisher(a, b), "Fisher's exact test"
    return _z_test(a, b), "z test with continuity correction"


def fisher(a: Share, b: Share) -> float:
    """Return the exact two-sided p: of all tables with these sums, those that are at most as likely as this one."""
    right, texts = a.count + b.count, a.whole + b.whole
    counts = range(max(0, right - b.whole), min(right, a.whole) + 1)
    whole = _log_choose(texts, right)
    logs = [_log_choose(a.whole, count) + _log_choose(b.whole, right - count) - whole for count in counts]
    observed = logs[a.count - counts.start]
    return min(1.0, math.exp(_log_sum([log for log in logs if log <= observed + _EQUAL])))


def _z_test(a: Share, b: Share) -> float:
    """Return the p of the z test with the continuity correction of Yates."""
    pooled = (a.count + b.count) / (a.whole + b.whole)
    inverse = 1 / a.whole + 1 / b.whole
    distance = max(0.0, abs(a.value - b.value) - inverse / 2)
    return math.erfc(distance / math.sqrt(pooled * (1 - pooled) * inverse) / math.sqrt(2))


def paired_texts_needed(both: int, only_a: int, only_b: int, neither: int) -> int | None:
    """Return about how many labelled texts show a difference like this one with 80 % probability (Connor 1987).

    None if there is no difference.
    """
    texts = both + only_a + only_b + neither
    discordant, difference = (only_a + only_b) / texts, abs(only_b - only_a) / texts
    if not difference:
        return None
    root = Z * math.sqrt(discordant) + _Z_POWER * math.sqrt(max(0.0, discordant - difference**2))
    return math.ceil((root / difference) ** 2)


def unpaired_texts_needed(a: Share, b: Share) -> int | None:
    """Return the same for texts that only one version has answered, as a number for each of them (Fleiss 1981).

    None if there is no difference.
    """
    difference = abs(b.value - a.value)
    if not difference:
        return None
    middle = (a.value + b.value) / 2
    variance = a.value * (1 - a.value) + b.value * (1 - b.value)
    root = Z * math.sqrt(2 * middle * (1 - middle)) + _Z_POWER * math.sqrt(variance)
    return math.ceil((root / difference) ** 2)


def _log_choose(whole: int, count: int) -> float:
    return math.lgamma(whole + 1) - math.lgamma(count + 1) - math.lgamma(whole - count + 1)


def _log_sum(logs: list[float]) -> float:
    largest = max(logs)
    return largest + math.log(math.fsum(math.exp(log - largest) for log in logs))
