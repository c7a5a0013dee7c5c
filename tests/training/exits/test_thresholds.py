"""Thresholds: as low as the limits allow on every set."""

import numpy as np
import pytest
from numpy.typing import NDArray

from training.exits.thresholds import Answers, Limits, Outcome, choose, compare, outcome


def scores(*confidences: float) -> NDArray[np.float64]:
    """Return the probabilities of two labels: of the first, or of the second for a negative confidence."""
    return np.array([[each, 1 - each] if each > 0 else [1 + each, -each] for each in confidences])


#          sure and right, sure and wrong, unsure and right, unsure and wrong
EARLY = scores(0.95, -0.85, 0.75, -0.65)
WHOLE = scores(0.99, 0.90, 0.80, 0.70)


def answers(truth: list[int] | None = None, name: str = "a") -> Answers:
    return Answers(name, {3: EARLY}, WHOLE, np.array([10, 10, 10, 10]), np.array(truth) if truth else None)


@pytest.mark.parametrize(
    ("threshold", "other", "share", "cost"),
    [(0.9, 0, 25, 87.5), (0.8, 25, 50, 75), (0.7, 25, 75, 62.5), (0.6, 50, 100, 50)],
)
def test_an_outcome_counts_what_leaves_and_what_changes(
    threshold: float, other: float, share: float, cost: float
) -> None:
    result = outcome(answers(), {3: (threshold, threshold)}, 6)
    assert (result.texts, result.other_labels, result.shares[3], result.cost) == (4, other, share, cost)
    assert (result.accuracy, result.whole_accuracy) == (None, None)


def test_long_texts_cost_more() -> None:
    uneven = Answers("a", {3: EARLY}, WHOLE, np.array([70, 10, 10, 10]))
    assert outcome(uneven, {3: (0.9, 0.9)}, 6).cost == 65


def test_accuracy_is_over_the_labels_that_the_set_has() -> None:
    whole = np.array([[0.5, 0.1, 0.4], [0.5, 0.4, 0.1]])
    set_of_two = Answers("a", {}, whole, np.array([1, 1]), np.array([2, 1]))
    assert compare(set_of_two, whole, np.array([6, 6]), 6) == Outcome(2, 0.0, 100.0, {6: 100.0}, 100.0, 100.0)


def test_a_text_leaves_at_the_first_exit_that_is_sure() -> None:
    several = Answers("a", {2: scores(0.9, 0.6), 4: scores(0.9, 0.9)}, scores(0.9, 0.9), np.array([1, 1]))
    assert outcome(several, {2: (0.8, 0.8), 4: (0.8, 0.8)}, 6).shares == {2: 50, 4: 50}


def test_each_label_has_its_threshold() -> None:
    # Of the second label are those with the confidences 0.85 and 0.65.
    assert outcome(answers(), {3: (0.7, 0.9)}, 6).shares[3] == 50
    assert outcome(answers(), {3: (0.9, 0.8)}, 6).shares[3] == 50


class TestChoose:
    def test_thresholds_are_as_low_as_the_limits_allow(self) -> None:
        ((first, second),) = choose([answers()], [3], 6, Limits(other_labels=0)).values()
        assert first < 0.75
        assert second > 0.85  # both texts of the second label would get another one
        ((first, second),) = choose([answers()], [3], 6, Limits(other_labels=25)).values()
        assert first < 0.75
        assert 0.65 < second < 0.85

    def test_accuracy_counts_on_each_set(self) -> None:
        limits = Limits(other_labels=100, lost_points=0)
        first_is_right, second_is_right = answers([0, 0, 1, 0]), answers([0, 1, 0, 1])
        assert choose([first_is_right, second_is_right], [3], 6, limits)[3][1] > 0.85
        assert choose([second_is_right], [3], 6, limits)[3][1] < 0.65

    def test_a_set_may_have_a_limit_of_its_own(self) -> None:
        limits = Limits(other_labels=100, lost_points=0, lost_points_of={"hard": 50})
        assert choose([answers([0, 0, 1, 0], "hard")], [3], 6, limits)[3][1] < 0.65
        assert choose([answers([0, 0, 1, 0], "easy")], [3], 6, limits)[3][1] > 0.85

    def test_there_may_be_no_exit_within_the_limits(self) -> None:
        wrong = Answers("a", {3: 1 - EARLY}, WHOLE, np.array([1, 1, 1, 1]))
        all_wrong = Answers("a", {3: scores(-0.99, -0.9, -0.8, -0.7)}, WHOLE, wrong.tokens)
        assert choose([all_wrong], [3], 6, Limits(other_labels=0)) == {}

    def test_an_exit_that_saves_nothing_is_left_out(self) -> None:
        never_sure = np.full((4, 2), 0.5)
        both = Answers("a", {2: never_sure, 4: WHOLE}, WHOLE, np.array([1, 1, 1, 1]))
        assert [*choose([both], [2, 4], 6, Limits())] == [4]

    def test_many_labels_share_one_threshold(self) -> None:
        rng = np.random.default_rng(0)
        values = rng.random((50, 9))
        values /= values.sum(axis=1, keepdims=True)
        (row,) = choose([Answers("a", {3: values}, values, np.full(50, 10))], [3], 6, Limits()).values()
        assert len(row) == 9
        assert len({*row}) == 1
