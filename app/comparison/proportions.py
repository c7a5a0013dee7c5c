"""Shares and their differences, with 95 % confidence intervals that also hold for few texts and for shares near 0 or 1.

Sources: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", J. Am. Stat. Assoc. 22
(1927), for a share; R. G. Newcombe, "Interval estimation for the difference between independent proportions", Stat.
Med. 17 (1998), 873-890, method 10, for shares of different texts; R. G. Newcombe, "Improved confidence intervals for
the difference between binomial proportions based on paired data", Stat. Med. 17 (1998), 2635-2650, method 10, for
shares of the same texts.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

Z = NormalDist().inv_cdf(0.975)  # of a two-sided 95 % interval


@dataclass(frozen=True, slots=True)
class Share:
    """So many of a whole, which is at least 1."""

    count: int
    whole: int

    def __post_init__(self) -> None:
        if not 0 <= self.count <= self.whole or not self.whole:
            raise ValueError(f"{self.count} of {self.whole} is not a share")

    @property
    def value(self) -> float:
        return self.count / self.whole

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % confidence interval (Wilson 1927)."""
        spread = Z**2 / self.whole
        middle = (self.value + spread / 2) / (1 + spread)
        half = Z / (1 + spread) * math.sqrt(self.value * (1 - self.value) / self.whole + spread / (4 * self.whole))
        # Rounding must not move a limit beyond the share itself.
        return min(self.value, max(0.0, middle - half)), max(self.value, min(1.0, middle + half))


@dataclass(frozen=True, slots=True)
class Difference:
    """The share of B minus that of A, and its 95 % confidence interval."""

    value: float
    low: float
    high: float


def unpaired_difference(a: Share, b: Share) -> Difference:
    """Return the difference of shares that were measured on different texts."""
    return _square_and_add(a, b, b.value - a.value, 0.0)


def paired_difference(both: int, only_a: int, only_b: int, neither: int) -> Difference:
    """Return the difference of shares that were measured on the same texts, of which there is at least one.

    The arguments count the texts on which both versions are right, only A, only B, and neither of them.
    """
    texts = both + only_a + only_b + neither
    a, b = Share(both + only_a, texts), Share(both + only_b, texts)
    product = a.count * (texts - a.count) * b.count * (texts - b.count)
    correlation = 0.0
    if product:
        excess = both * neither - only_a * only_b
        # With a continuity correction, but not beyond 0.
        corrected = max(0.0, excess - texts / 2) if excess > 0 else float(excess)
        correlation = corrected / math.sqrt(product)
    return _square_and_add(a, b, (only_b - only_a) / texts, correlation)


def _square_and_add(a: Share, b: Share, value: float, correlation: float) -> Difference:
    """Combine the distances of the limits of both shares, as if they were sides of a triangle."""
    (a_low, a_high), (b_low, b_high) = a.interval, b.interval
    below = _side(b.value - b_low, a_high - a.value, correlation)
    above = _side(b_high - b.value, a.value - a_low, correlation)
    return Difference(value, max(-1.0, value - below), min(1.0, value + above))


def _side(first: float, second: float, correlation: float) -> float:
    return math.sqrt(max(0.0, first**2 - 2 * correlation * first * second + second**2))
