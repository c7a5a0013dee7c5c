"""The measures against numbers that were worked out by hand."""

from typing import Any

import numpy as np
import pytest

from training.data.examples import LABELS
from training.evaluation.metrics import BINS, Report, interval, measure, pool, score

THREE = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6], [0.1, 0.3, 0.6]])


def report(probabilities: Any, truth: list[int]) -> Report:
    return measure(score(np.asarray(probabilities), truth), LABELS)


class TestMeasure:
    def test_three_classes(self) -> None:
        found = report(THREE, [0, 1, 2, 1])
        assert found.accuracy == found.accuracy_of_all == 0.75
        assert found.confusion == [[1, 0, 0], [0, 1, 1], [0, 0, 1]]
        assert found.macro_recall == pytest.approx((1 + 0.5 + 1) / 3)
        assert found.macro_f1 == pytest.approx((1 + 2 / 3 + 2 / 3) / 3)
        neutral = found.classes["neutral"]
        assert (neutral.rows, neutral.precision, neutral.recall, neutral.f1) == (2, 1, 0.5, pytest.approx(2 / 3))
        assert found.classes["positive"].precision == 0.5

    def test_the_probabilities_themselves_are_judged(self) -> None:
        found = report(THREE, [0, 1, 2, 1])
        squares = (
            0.3**2 + 0.2**2 + 0.1**2,
            0.1**2 + 0.2**2 + 0.1**2,
            0.2**2 + 0.2**2 + 0.4**2,
            0.1**2 + 0.7**2 + 0.6**2,
        )
        assert found.brier == pytest.approx(sum(squares) / 4)
        assert found.nll == pytest.approx(-np.log([0.7, 0.8, 0.6, 0.3]).mean())
        # 0.6 twice in one bin, right once; 0.7 and 0.8 alone in theirs, and right.
        assert found.ece == pytest.approx((2 * abs(0.6 - 0.5) + 0.3 + 0.2) / 4)

    def test_a_set_without_neutral_is_measured_on_its_two_classes(self) -> None:
        found = report([[0.3, 0.5, 0.2], [0.1, 0.6, 0.3], [0.2, 0.5, 0.3]], [0, 2, 0])
        assert found.accuracy == pytest.approx(2 / 3)
        assert found.accuracy_of_all == 0
        assert found.ece_of_all == pytest.approx((0.5 + 0.6 + 0.5) / 3)  # as sure as that, and never right
        assert list(found.classes) == ["negative", "positive"]
        assert found.confusion == [[1, 1], [0, 1]]
        assert found.macro_recall == 0.75
        assert found.macro_f1 == pytest.approx(2 / 3)
        assert found.nll == pytest.approx(-np.log([0.6, 0.75, 0.4]).mean())

    def test_a_set_of_one_class_is_measured_on_all(self) -> None:
        found = report([[0.3, 0.5, 0.2], [0.6, 0.3, 0.1]], [0, 0])
        assert found.accuracy == 0.5
        assert found.macro_recall == 0.5
        assert found.macro_f1 == pytest.approx(2 / 3)

    def test_sets_are_pooled_each_over_its_own_classes(self) -> None:
        polar = score(np.array([[0.3, 0.5, 0.2], [0.1, 0.6, 0.3]]), [0, 2])
        found = measure(pool([polar, score(THREE, [0, 1, 2, 1])]), LABELS)
        assert found.rows == 6
        assert found.accuracy == pytest.approx(5 / 6)
        assert found.confusion == [[2, 0, 0], [0, 1, 1], [0, 0, 2]]

    def test_an_edge_belongs_to_the_bin_below_it(self) -> None:
        exact = report([[0.6, 0.2, 0.2], [0.2, 0.6, 0.2], [0.2, 0.2, 0.6]], [0, 1, 2]).bins
        assert len(exact) == BINS
        assert (exact[8].rows, exact[8].confidence, exact[8].accuracy) == (3, pytest.approx(0.6), 1)

    def test_a_probability_of_zero_costs_much_and_not_everything(self) -> None:
        assert report([[1, 0, 0], [1, 0, 0]], [0, 1]).nll == pytest.approx(-np.log(1e-12) / 2)

    def test_a_row_that_gives_nothing_to_the_classes_of_its_set_is_undecided(self) -> None:
        found = report([[0, 1, 0], [0, 0, 1]], [2, 0])
        assert found.nll == pytest.approx((np.log(2) - np.log(1e-12)) / 2)

    def test_the_interval_is_wilsons(self) -> None:
        # Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I, method 3
        for hits, rows, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611)):
            assert interval(hits / rows, rows) == pytest.approx((low, high), abs=5e-5)
        assert interval(1.0, 20) == pytest.approx((1 - 0.1611, 1), abs=5e-5)
