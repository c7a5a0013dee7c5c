"""Tests and numbers of texts, against published examples and exact enumerations in fractions."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.comparison import Share
from app.comparison.significance import (
    LEVEL,
    fisher,
    mcnemar,
    paired_texts_needed,
    two_proportions,
    unpaired_texts_needed,
)

COUNT = st.integers(0, 200)


@pytest.mark.parametrize(
    ("only_a", "only_b", "p"),
    [(1, 7, 18 / 256), (0, 0, 1.0), (5, 5, 1.0), (0, 5, 2 / 32), (6, 16, 0.0525), (0, 2000, 0.0)],
)
def test_mcnemar_is_as_published_and_as_counted(only_a: int, only_b: int, p: float) -> None:
    """The first is Bentur et al. 2009 in Fagerland, Lydersen and Laake 2014, the fifth Cavo et al. 2012."""
    assert mcnemar(only_a, only_b) == pytest.approx(p, abs=5e-5)


@given(COUNT, COUNT)
def test_mcnemar_is_the_exact_tail_of_coin_tosses(only_a: int, only_b: int) -> None:
    texts = only_a + only_b
    tail = sum(math.comb(texts, count) for count in range(min(only_a, only_b) + 1))
    assert mcnemar(only_a, only_b) == pytest.approx(float(min(Fraction(1), Fraction(2 * tail, 2**texts))))
    assert 0 <= mcnemar(only_a, only_b) == mcnemar(only_b, only_a) <= 1


def test_mcnemar_copes_with_a_million_texts() -> None:
    assert mcnemar(499_000, 501_000) == pytest.approx(0.0457, abs=5e-4)  # 2 standard deviations: 0.0455


@pytest.mark.parametrize(
    ("a", "b", "p"),
    # Fisher 1935 (the lady who tasted tea), and Perondi et al. 2004 in Fagerland, Lydersen and Laake 2017, section 4.
    [(Share(3, 4), Share(1, 4), 34 / 70), (Share(7, 34), Share(1, 34), 0.0544), (Share(0, 3), Share(0, 5), 1.0)],
)
def test_fisher_is_as_published(a: Share, b: Share, p: float) -> None:
    assert fisher(a, b) == pytest.approx(p, abs=5e-5)


@given(st.integers(0, 25), st.integers(0, 25), st.integers(0, 25), st.integers(1, 25))
def test_fisher_is_the_sum_over_all_tables_with_the_same_sums(a: int, b: int, more_a: int, more_b: int) -> None:
    one, other = Share(a, a + more_a + 1), Share(b, b + more_b)
    right = a + b

    def ways(count: int) -> int:
        return math.comb(one.whole, count) * math.comb(other.whole, right - count)

    every = [ways(count) for count in range(min(right, one.whole) + 1) if right - count <= other.whole]
    expected = Fraction(sum(each for each in every if each <= ways(a)), sum(every))
    assert fisher(one, other) == pytest.approx(float(expected))
    assert fisher(other, one) == pytest.approx(fisher(one, other))


def test_many_texts_get_the_z_test_of_yates() -> None:
    p, test = two_proportions(Share(15, 50), Share(25, 50))
    # By hand: chi-squared = 4.5^2 * (1/20 + 1/20 + 1/30 + 1/30) = 3.375, of which the tail is 0.0662.
    assert p == pytest.approx(0.0662, abs=5e-5)
    assert test == "z test with continuity correction"


@pytest.mark.parametrize(("a", "b"), [((7, 34), (1, 34)), ((1000, 1000), (998, 1000)), ((1, 2), (500, 1000))])
def test_few_texts_get_the_exact_test(a: tuple[int, int], b: tuple[int, int]) -> None:
    assert two_proportions(Share(*a), Share(*b)) == (fisher(Share(*a), Share(*b)), "Fisher's exact test")


@given(st.integers(1, 300), st.integers(1, 300), st.floats(0, 1), st.floats(0, 1))
def test_swapping_versions_does_not_change_p(whole_a: int, whole_b: int, part_a: float, part_b: float) -> None:
    a, b = Share(round(part_a * whole_a), whole_a), Share(round(part_b * whole_b), whole_b)
    (p, test), (swapped, same_test) = two_proportions(a, b), two_proportions(b, a)
    assert 0 <= p <= 1
    assert test == same_test
    assert p == pytest.approx(swapped)


def test_where_both_tests_apply_they_agree() -> None:
    a, b = Share(420, 500), Share(450, 500)
    assert two_proportions(a, b)[0] == pytest.approx(fisher(a, b), abs=0.001)


def test_the_number_of_different_texts_is_that_of_the_tables() -> None:
    # 60 % against 70 %, two-sided 5 %, power 80 %: 356 in each group, in every table (Fleiss 1981 without correction).
    assert unpaired_texts_needed(Share(60, 100), Share(70, 100)) == 356
    assert unpaired_texts_needed(Share(70, 100), Share(60, 100)) == 356
    assert unpaired_texts_needed(Share(6, 10), Share(60, 100)) is None


def test_so_many_of_the_same_texts_have_the_power() -> None:
    """The power of the approximate test for the number that Connor's formula gives, by exact enumeration."""
    share_a, share_b = 0.05, 0.12  # of texts on which only that one is right
    texts = paired_texts_needed(78, 5, 12, 5)
    assert texts is not None
    power = 0.0
    for discordant in range(texts + 1):
        chance = math.comb(texts, discordant) * (share_a + share_b) ** discordant
        chance *= (1 - share_a - share_b) ** (texts - discordant)
        for only_b in range(discordant + 1):
            if discordant and abs(2 * only_b - discordant) / math.sqrt(discordant) > 1.96:
                part = share_b / (share_a + share_b)
                split = math.comb(discordant, only_b) * part**only_b * (1 - part) ** (discordant - only_b)
                power += chance * split
    assert power == pytest.approx(0.8, abs=0.02)


def test_without_a_difference_no_number_shows_one() -> None:
    assert paired_texts_needed(10, 3, 3, 4) is None


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50), st.integers(1, 50))
def test_a_difference_that_is_not_shown_needs_more_texts(both: int, a: int, b: int, neither: int) -> None:
    needed = paired_texts_needed(both, a, b, neither)
    assert needed == paired_texts_needed(both, b, a, neither)
    if needed is not None and mcnemar(a, b) >= 2 * LEVEL:
        assert needed > both + a + b + neither
