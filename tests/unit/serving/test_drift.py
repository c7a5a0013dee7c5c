"""How far answers are from those that the model was developed with."""

import math
from itertools import cycle, islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.inference import Development
from app.inference.development import Histogram
from app.serving.drift import Drift, psi

DEVELOPMENT = Development(
    1000, {"bad": 0.5, "good": 0.5}, Histogram((0.6, 0.9), (0.2, 0.3, 0.5)), Histogram((16.0,), (0.5, 0.5))
)
# Ten answers that are distributed like those of the development texts.
USUAL = [
    *[("bad", 0.5, 10), ("good", 0.5, 20), ("bad", 0.7, 10), ("good", 0.7, 20), ("bad", 0.7, 10)],
    *[("good", 0.95, 20), ("bad", 0.95, 10), ("good", 0.95, 20), ("bad", 0.95, 10), ("good", 0.95, 20)],
]
COUNTS = st.lists(st.integers(0, 1000), min_size=5, max_size=5).filter(any)


def feed(drift: Drift, answers: list[tuple[str, float, int]], number: int) -> None:
    for answer in islice(cycle(answers), number):
        drift.observe(*answer)


def shares(counts: list[int]) -> list[float]:
    return [count / sum(counts) for count in counts]


def test_the_index_has_the_value_that_is_computed_by_hand() -> None:
    # 0.2 · ln(0.701 / 0.501) + 0.2 · ln(0.501 / 0.301), with a thousandth added to each share
    assert psi([0.5, 0.5], [0.7, 0.3]) == pytest.approx(0.2 * math.log(0.701 / 0.501) + 0.2 * math.log(0.501 / 0.301))
    assert psi([0.5, 0.5], [0.7, 0.3]) == pytest.approx(0.169_08, abs=1e-5)


def test_a_bin_that_was_empty_has_a_finite_share_of_the_index() -> None:
    # 0.1 · ln(0.101 / 0.001) + 0.1 · ln(1.001 / 0.901)
    assert psi([1.0, 0.0], [0.9, 0.1]) == pytest.approx(0.472_03, abs=1e-5)
    assert psi([1.0, 0.0], [0.9, 0.1]) == pytest.approx(psi([0.9, 0.1], [1.0, 0.0]))


@given(COUNTS, COUNTS)
def test_the_index_is_never_negative_and_the_same_in_both_directions(one: list[int], other: list[int]) -> None:
    index = psi(shares(one), shares(other))
    assert index >= 0
    assert index == pytest.approx(psi(shares(other), shares(one)))


@given(COUNTS)
def test_the_index_of_equal_distributions_is_0(counts: list[int]) -> None:
    assert psi(shares(counts), shares(counts)) == 0


def test_distributions_must_have_the_same_bins() -> None:
    with pytest.raises(ValueError, match="zip"):
        psi([0.5, 0.5], [1.0])


def test_there_is_no_score_before_500_texts() -> None:
    drift = Drift(DEVELOPMENT)
    feed(drift, USUAL, 499)
    assert drift.scores() is None
    feed(drift, USUAL, 1)
    assert drift.scores() is not None


def test_many_labels_need_more_texts() -> None:
    labels = {str(number): 0.01 for number in range(100)}
    drift = Drift(Development(2000, labels, DEVELOPMENT.confidence, DEVELOPMENT.tokens))
    answers = [(label, 0.7, 10) for label in labels]
    feed(drift, answers, 1999)
    assert drift.scores() is None
    feed(drift, answers, 1)
    assert drift.scores() is not None


def test_a_model_with_few_development_texts_has_no_scores() -> None:
    for texts in (59, 60):
        drift = Drift(Development(texts, DEVELOPMENT.labels, DEVELOPMENT.confidence, DEVELOPMENT.tokens))
        feed(drift, USUAL, 1000)
        assert (drift.scores() is None) == (texts == 59)


def test_answers_like_those_in_development_have_scores_near_0() -> None:
    drift = Drift(DEVELOPMENT)
    feed(drift, USUAL, 3000)
    scores = drift.scores()
    assert scores is not None
    assert scores.keys() == {"labels", "confidence", "tokens"}
    assert max(scores.values()) < 1e-5


@pytest.mark.parametrize(
    ("name", "answers"),
    [
        ("labels", [("good", confidence, tokens) for _, confidence, tokens in USUAL]),
        ("confidence", [(label, 0.5, tokens) for label, _, tokens in USUAL]),
        ("tokens", [(label, confidence, 15) for label, confidence, _ in USUAL]),
    ],
)
def test_only_the_distribution_that_changes_drifts(name: str, answers: list[tuple[str, float, int]]) -> None:
    drift = Drift(DEVELOPMENT)
    feed(drift, answers, 1000)
    scores = drift.scores()
    assert scores is not None
    assert scores.pop(name) > 0.25
    assert max(scores.values()) < 1e-4


def test_an_answer_counts_for_37_percent_after_as_many_texts_as_the_memory() -> None:
    drift = Drift(DEVELOPMENT, memory_texts=1000)
    feed(drift, [("bad", 0.7, 10)], 20_000)
    feed(drift, [("good", 0.7, 10)], 1000)
    scores = drift.scores()
    assert scores is not None
    assert scores["labels"] == pytest.approx(psi([0.5, 0.5], [math.exp(-1), 1 - math.exp(-1)]), rel=0.01)


@pytest.mark.parametrize("memory_texts", [2, 100, 5000])
def test_counts_stay_exact_over_many_texts(memory_texts: int) -> None:
    drift, decay = Drift(DEVELOPMENT, memory_texts), 1 - 1 / memory_texts
    counts = {"bad": 0.0, "good": 0.0}
    for label, confidence, tokens in islice(cycle(USUAL[:3]), 150_000):
        drift.observe(label, confidence, tokens)
        counts = {name: count * decay + (name == label) for name, count in counts.items()}
    scores = drift.scores()
    assert scores is not None
    total = sum(counts.values())
    assert scores["labels"] == pytest.approx(psi([0.5, 0.5], [counts["bad"] / total, counts["good"] / total]))


def test_a_memory_of_one_text_is_refused() -> None:
    with pytest.raises(ValueError, match="memory_texts must be at least 2"):
        Drift(DEVELOPMENT, memory_texts=1)
