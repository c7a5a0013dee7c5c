"""Intervals, against published examples, symmetry, and the coverage that an exact enumeration gives."""

import math
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.comparison import Share
from app.comparison.proportions import Difference, paired_difference, unpaired_difference

COUNT = st.integers(0, 60)


@st.composite
def shares(draw: st.DrawFn) -> Share:
    whole = draw(st.integers(1, 2000))
    return Share(draw(st.integers(0, whole)), whole)


@pytest.mark.parametrize(
    ("count", "whole", "low", "high"),
    # Newcombe, Stat. Med. 17 (1998), 857-872, table I, method 3.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_the_interval_of_a_share_is_that_of_wilson(count: int, whole: int, low: float, high: float) -> None:
    assert Share(count, whole).interval == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(("count", "whole"), [(1, 0), (0, 0), (3, 2), (-1, 2)])
def test_what_is_no_share_is_refused(count: int, whole: int) -> None:
    with pytest.raises(ValueError, match=f"{count} of {whole} is not a share"):
        Share(count, whole)


@pytest.mark.parametrize(
    ("b", "a", "low", "high"),
    # Newcombe, Stat. Med. 17 (1998), 873-890, table II, method 10.
    [
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((6, 7), (2, 7), 0.0582, 0.8062),
        ((5, 56), (0, 29), -0.0381, 0.1926),
        ((0, 10), (0, 20), -0.1611, 0.2775),
        ((0, 10), (0, 10), -0.2775, 0.2775),
        ((10, 10), (0, 20), 0.6791, 1.0),
        ((10, 10), (0, 10), 0.6075, 1.0),
    ],
)
def test_a_difference_of_different_texts_is_as_published(
    b: tuple[int, int], a: tuple[int, int], low: float, high: float
) -> None:
    difference = unpaired_difference(Share(*a), Share(*b))
    assert (difference.low, difference.high) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(
    ("table", "value", "low", "high"),
    [
        # Bentur et al. 2009 in Fagerland, Lydersen and Laake, BMC Med. Res. Methodol. 14:119 (2014): to three digits.
        ((1, 7, 1, 12), -0.286, -0.507, -0.026),
        # Cavo et al. 2012 in the same authors' "Statistical Analysis of Contingency Tables" (2017), section 8.
        ((59, 16, 6, 80), -0.0621, -0.1186, -0.0046),
        # Altman et al., "Statistics with Confidence" (2000), page 53.
        ((14, 0, 5, 22), 0.122, 0.011, 0.226),
    ],
)
def test_a_difference_of_the_same_texts_is_as_published(
    table: tuple[int, int, int, int], value: float, low: float, high: float
) -> None:
    difference = paired_difference(*table)
    assert (difference.value, difference.low, difference.high) == pytest.approx((value, low, high), abs=5e-4)


def test_versions_that_agree_negatively_have_a_wider_interval() -> None:
    apart, together = paired_difference(10, 40, 40, 10), paired_difference(40, 10, 10, 40)
    assert apart.high - apart.low > together.high - together.low


@given(shares(), shares())
def test_the_interval_of_unpaired_shares_contains_the_difference(a: Share, b: Share) -> None:
    difference = unpaired_difference(a, b)
    assert -1 <= difference.low <= difference.value <= difference.high <= 1
    assert difference.value == b.value - a.value


@given(COUNT, COUNT, COUNT, st.integers(1, 60))
def test_the_interval_of_paired_shares_contains_the_difference(both: int, a: int, b: int, neither: int) -> None:
    difference = paired_difference(both, a, b, neither)
    assert -1 <= difference.low <= difference.value <= difference.high <= 1


def mirrored(difference: Difference) -> tuple[float, float, float]:
    return -difference.value, -difference.high, -difference.low


@given(shares(), shares())
def test_swapping_unpaired_versions_mirrors_the_interval(a: Share, b: Share) -> None:
    one, other = unpaired_difference(a, b), unpaired_difference(b, a)
    assert (one.value, one.low, one.high) == pytest.approx(mirrored(other))


@given(COUNT, COUNT, COUNT, st.integers(1, 60))
def test_swapping_paired_versions_mirrors_the_interval(both: int, a: int, b: int, neither: int) -> None:
    one, other = paired_difference(both, a, b, neither), paired_difference(both, b, a, neither)
    assert (one.value, one.low, one.high) == pytest.approx(mirrored(other))


@given(shares())
def test_the_interval_of_a_share_contains_it(share: Share) -> None:
    low, high = share.interval
    assert 0 <= low <= share.value <= high <= 1


def probability(counts: tuple[int, ...], chances: tuple[float, ...]) -> float:
    """Of a multinomial distribution, from its definition."""
    ways = math.factorial(sum(counts)) / math.prod(map(math.factorial, counts))
    return ways * math.prod(chance**count for chance, count in zip(chances, counts, strict=True))


@pytest.mark.parametrize("chances", [(0.6, 0.15, 0.15, 0.1), (0.7, 0.05, 0.2, 0.05), (0.25, 0.25, 0.25, 0.25)])
def test_about_95_of_100_paired_intervals_contain_the_truth(chances: tuple[float, ...]) -> None:
    texts, covered = 20, 0.0
    for both, a, b in product(range(texts + 1), repeat=3):
        if (neither := texts - both - a - b) >= 0:
            difference = paired_difference(both, a, b, neither)
            if difference.low <= chances[2] - chances[1] <= difference.high:
                covered += probability((both, a, b, neither), chances)
    assert 0.93 < covered < 0.985


@pytest.mark.parametrize(("chance_a", "chance_b"), [(0.9, 0.8), (0.6, 0.6), (0.3, 0.5)])
def test_about_95_of_100_unpaired_intervals_contain_the_truth(chance_a: float, chance_b: float) -> None:
    covered = 0.0
    for a, b in product(range(26), range(31)):
        difference = unpaired_difference(Share(a, 25), Share(b, 30))
        if difference.low <= chance_b - chance_a <= difference.high:
            covered += probability((a, 25 - a), (chance_a, 1 - chance_a)) * probability(
                (b, 30 - b), (chance_b, 1 - chance_b)
            )
    assert 0.93 < covered < 0.985
