"""The verdict: sentences that a product manager understands."""

import pytest

from app.comparison import (
    Comparison,
    Shadow,
    Share,
    VersionCounts,
    compare,
    compare_counts,
    describe,
    describe_counts,
)
from app.comparison.words import _p, _percent, _rounded
from app.types import Prediction
from tests.support.process import ROOT


def prediction(label: str) -> Prediction:
    return Prediction(label, 1.0, {"bad": float(label == "bad"), "good": float(label == "good")})


def compared(both: int, only_a: int, only_b: int, neither: int, unknown: int = 0) -> Comparison:
    """Of texts that are all good, those that both versions, only one or none of them get right, and unlabelled ones."""
    right, wrong = prediction("good"), prediction("bad")
    pairs = [(right, right)] * both + [(right, wrong)] * only_a + [(wrong, right)] * only_b + [(wrong, wrong)] * neither
    pairs += [(right, right)] * unknown
    truth = ["good"] * (len(pairs) - unknown) + [None] * unknown
    return compare([a for a, _ in pairs], [b for _, b in pairs], truth)


def test_a_difference_that_can_be_chance_is_called_that() -> None:
    assert describe(compared(346, 18, 24, 12, unknown=1600)) == (
        "Of 2 000 texts the two versions gave 1 958 (97.9 %) the same label. Where the right label is known "
        "(400 texts), B is right for 92.5 %, A for 91.0 %. Such a difference can be chance (p = 0.44): these texts do "
        "not show that either is better. About 3 700 labelled texts would be needed to show a difference of this size."
    )


def test_the_page_shows_a_real_verdict() -> None:
    page = " ".join((ROOT / "docs" / "compare.md").read_text().split())
    assert describe(compared(346, 18, 24, 12, unknown=1600)) in page


def test_a_difference_that_is_shown_names_the_better_one() -> None:
    words = describe(compared(320, 10, 50, 20), "old", "new")
    assert (
        "new is right for 92.5 %, old for 82.5 %. A difference of this size is unlikely to be chance (p < 0.001): "
        "on texts like these, new is better than old. The advantage of new is probably "
        "between 6.3 and 13.8 percentage points (95 % interval)."
    ) in words
    assert "old is better than new" in describe(compared(320, 50, 10, 20), "old", "new")


def test_an_advantage_never_reaches_below_nothing() -> None:
    """Near the level, the exact test may show a difference whose approximate interval contains 0."""
    a, b = VersionCounts(feedback={"good": {"bad": 20}}), VersionCounts(feedback={"good": {"good": 33, "bad": 167}})
    comparison = compare_counts(a, b)
    assert comparison.accuracies is not None
    assert comparison.accuracies.difference.low < 0
    assert "(p = 0.049): on texts like these, B is better than A" in describe_counts(comparison)
    assert "between 0.0 and 22.3 percentage points" in describe_counts(comparison)


def test_versions_that_are_equally_often_right_do_not_differ() -> None:
    words = describe(compared(90, 5, 5, 0))
    assert words.endswith("So there is no difference: these texts do not show that either is better.")


def test_without_labels_the_verdict_is_open() -> None:
    assert describe(compared(0, 0, 0, 0, unknown=1)) == (
        "Of 1 text the two versions gave 1 (100.0 %) the same label. The right label is known for none of them, so "
        "these texts do not say which version is better."
    )


def test_feedback_is_compared_with_a_warning_about_who_gave_it() -> None:
    a, b = (
        VersionCounts(feedback={"good": {"good": 60, "bad": 40}}),
        VersionCounts(feedback={"bad": {"bad": 7, "good": 3}}),
    )
    assert describe_counts(compare_counts(a, b), "m@1", "m@2") == (
        "According to feedback, m@2 is right for 70.0 % of 10 texts, m@1 for 60.0 % of 100 texts. Such a difference "
        "can be chance (p = 0.74): these texts do not show that either is better. About 360 labelled texts for each "
        "version would be needed to show a difference of this size. People choose the texts for which they give "
        "feedback, so other texts may be different."
    )


def test_missing_feedback_and_a_shadow_are_named() -> None:
    a, b = VersionCounts(feedback={}), VersionCounts(shadow=Shadow(Share(980, 1000)))
    assert describe_counts(compare_counts(a, b), "m@1", "m@2") == (
        "m@2 is a shadow: of the 1 000 texts that it saw, it gave 980 (98.0 %) the label that was sent. There is no "
        "feedback for m@1 and m@2, so the counts do not say which version is better."
    )


@pytest.mark.parametrize(
    ("count", "whole", "shown"),
    [(1, 3, "33.3 %"), (9999, 10_000, "99.9 %"), (1, 10_000, "0.1 %"), (0, 5, "0.0 %"), (5, 5, "100.0 %")],
)
def test_a_percentage_does_not_hide_an_exception(count: int, whole: int, shown: str) -> None:
    assert _percent(Share(count, whole)) == shown


@pytest.mark.parametrize(
    ("p", "shown"),
    [(0.0001, "< 0.001"), (0.0123, "= 0.012"), (0.0499, "= 0.049"), (0.05, "= 0.050"), (0.314, "= 0.31")],
)
def test_a_p_has_as_many_digits_as_matter(p: float, shown: str) -> None:
    assert _p(p) == shown


@pytest.mark.parametrize(("number", "shown"), [(7, 7), (99, 99), (356, 360), (3841, 3900), (100_001, 110_000)])
def test_an_estimate_is_rounded_up_to_two_digits(number: int, shown: int) -> None:
    assert _rounded(number) == shown
