"""The metrics, against figures calculated by hand."""

from typing import Any

import numpy as np
import pytest

from training.data import LABELS
from training.evaluation.metrics import BINS, Report, interval, measure, pool, score

THREE = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6], [0.1, 0.3, 0.6]])


def report(probabilities: Any, truth: list[int]) -> Report:
    return measure(score(np.asarray(probabilities), truth), LABELS)


class TestMeasure:
    def test_three_classes(self) -> None:
        figures = report(THREE, [0, 1, 2, 1])
        assert figures.accuracy == figures.accuracy_of_all == 0.75
        assert figures.confusion == [[1, 0, 0], [0, 1, 1], [0, 0, 1]]
        assert figures.macro_recall == pytest.approx((1 + 0.5 + 1) / 3)
        assert figures.macro_f1 == pytest.approx((1 + 2 / 3 + 2 / 3) / 3)
        neutral = figures.classes["neutral"]
        assert (neutral.rows, neutral.precision, neutral.recall, neutral.f1) == (2, 1, 0.5, pytest.approx(2 / 3))
        assert figures.classes["positive"].precision == 0.5

    def test_brier_nll_and_ece_use_the_probabilities(self) -> None:
        figures = report(THREE, [0, 1, 2, 1])
        squares = (
            0.3**2 + 0.2**2 + 0.1**2,
            0.1**2 + 0.2**2 + 0.1**2,
            0.2**2 + 0.2**2 + 0.4**2,
            0.1**2 + 0.7**2 + 0.6**2,
        )
        assert figures.brier == pytest.approx(sum(squares) / 4)
        assert figures.nll == pytest.approx(-np.log([0.7, 0.8, 0.6, 0.3]).mean())
        # 0.6 is twice in one bin, and correct once. 0.7 and 0.8 are alone in their bins, and correct.
        assert figures.ece == pytest.approx((2 * abs(0.6 - 0.5) + 0.3 + 0.2) / 4)

    def test_a_set_without_neutral_is_measured_on_its_two_classes(self) -> None:
        figures = report([[0.3, 0.5, 0.2], [0.1, 0.6, 0.3], [0.2, 0.5, 0.3]], [0, 2, 0])
        assert figures.accuracy == pytest.approx(2 / 3)
        assert figures.accuracy_of_all == 0
        assert figures.ece_of_all == pytest.approx((0.5 + 0.6 + 0.5) / 3)  # these confidences, and never correct
        assert list(figures.classes) == ["negative", "positive"]
        assert figures.confusion == [[1, 1], [0, 1]]
        assert figures.macro_recall == 0.75
        assert figures.macro_f1 == pytest.approx(2 / 3)
        assert figures.nll == pytest.approx(-np.log([0.6, 0.75, 0.4]).mean())

    def test_a_set_of_one_class_is_measured_on_all(self) -> None:
        figures = report([[0.3, 0.5, 0.2], [0.6, 0.3, 0.1]], [0, 0])
        assert figures.accuracy == 0.5
        assert figures.macro_recall == 0.5
        assert figures.macro_f1 == pytest.approx(2 / 3)

    def test_sets_are_pooled_each_over_its_own_classes(self) -> None:
        polar = score(np.array([[0.3, 0.5, 0.2], [0.1, 0.6, 0.3]]), [0, 2])
        figures = measure(pool([polar, score(THREE, [0, 1, 2, 1])]), LABELS)
        assert figures.rows == 6
        assert figures.accuracy == pytest.approx(5 / 6)
        assert figures.confusion == [[2, 0, 0], [0, 1, 1], [0, 0, 2]]

    def test_a_bin_includes_its_upper_edge(self) -> None:
        exact = report([[0.6, 0.2, 0.2], [0.2, 0.6, 0.2], [0.2, 0.2, 0.6]], [0, 1, 2]).bins
        assert len(exact) == BINS
        assert (exact[8].rows, exact[8].confidence, exact[8].accuracy) == (3, pytest.approx(0.6), 1)

    def test_a_probability_of_zero_has_a_finite_cost(self) -> None:
        assert report([[1, 0, 0], [1, 0, 0]], [0, 1]).nll == pytest.approx(-np.log(1e-12) / 2)

    def test_a_row_with_no_probability_for_its_classes_is_undecided(self) -> None:
        figures = report([[0, 1, 0], [0, 0, 1]], [2, 0])
        assert figures.nll == pytest.approx((np.log(2) - np.log(1e-12)) / 2)

    def test_the_interval_is_wilsons(self) -> None:
        # Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I, method 3
        for hits, rows, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611)):
            assert interval(hits / rows, rows) == pytest.approx((low, high), abs=5e-5)
        assert interval(1.0, 20) == pytest.approx((1 - 0.1611, 1), abs=5e-5)
