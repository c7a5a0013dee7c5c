"""Feedback: who said what is counted once, and memory is bounded."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import InvalidInput, NotFound
from app.serving import Feedback, FeedbackOutcome
from app.serving.feedback import MAX_TEXTS

LABELS = ("negative", "neutral", "positive")


@pytest.fixture
def feedback() -> Feedback:
    """Feedback that remembers three requests, of which `a` got two labels and no prediction for a third text."""
    feedback = Feedback(capacity=3)
    feedback.remember("a", "m@1", ["positive", "negative", None], LABELS)
    return feedback


def test_the_right_labels_are_counted_by_what_was_predicted(feedback: Feedback) -> None:
    feedback.remember("b", "m@1", ["positive"], LABELS)
    feedback.remember("c", "m@2", ["positive"], LABELS)
    assert feedback.record("a", "positive") == FeedbackOutcome("m@1", "positive", "positive")
    assert feedback.record("a", "neutral", 1) == FeedbackOutcome("m@1", "negative", "neutral")
    assert feedback.record("b", "negative") == FeedbackOutcome("m@1", "positive", "negative")
    feedback.record("c", "positive")
    assert feedback.counts("m@1") == {"positive": {"positive": 1, "negative": 1}, "negative": {"neutral": 1}}
    assert feedback.counts("m@2") == {"positive": {"positive": 1}}
    assert feedback.counts("m@3") == {}


def test_a_second_feedback_for_a_text_replaces_the_first(feedback: Feedback) -> None:
    feedback.record("a", "negative")
    assert feedback.record("a", "positive").replaced == "negative"
    assert feedback.record("a", "positive").replaced == "positive"
    assert feedback.counts("m@1") == {"positive": {"positive": 1}}


def test_the_least_recently_used_request_is_forgotten(feedback: Feedback) -> None:
    for request_id in "bc":
        feedback.remember(request_id, "m@1", ["positive"], LABELS)
    feedback.record("a", "positive")
    feedback.remember("d", "m@1", ["positive"], LABELS)
    feedback.record("a", "positive")
    with pytest.raises(NotFound, match="each process keeps the ids of its last 3 requests"):
        feedback.record("b", "positive")
    assert feedback.counts("m@1") == {"positive": {"positive": 1}}


def test_counts_stay_when_requests_are_forgotten(feedback: Feedback) -> None:
    feedback.record("a", "positive")
    for request_id in "bcde":
        feedback.remember(request_id, "m@1", ["neutral"], LABELS)
    assert feedback.counts("m@1") == {"positive": {"positive": 1}}


def test_of_an_id_that_comes_twice_the_newest_counts(feedback: Feedback) -> None:
    feedback.record("a", "positive")
    feedback.remember("a", "m@1", ["neutral"], LABELS)
    assert feedback.record("a", "positive") == FeedbackOutcome("m@1", "neutral", "positive")
    assert feedback.counts("m@1") == {"positive": {"positive": 1}, "neutral": {"positive": 1}}


@pytest.mark.parametrize(
    ("label", "index", "message", "place"),
    [
        ("good", 0, "the model has no such label; it has negative, neutral, positive", "label"),
        ("positive", 2, "this text got no prediction", "index"),
        ("positive", 3, "the index must be less than 3", "index"),
    ],
)
def test_feedback_that_does_not_fit_is_refused(
    feedback: Feedback, label: str, index: int, message: str, place: str
) -> None:
    with pytest.raises(InvalidInput, match=message) as raised:
        feedback.record("a", label, index)
    assert raised.value.loc == ("body", place)
    assert feedback.counts("m@1") == {}


def test_of_a_long_list_the_first_texts_are_remembered() -> None:
    feedback = Feedback()
    feedback.remember("a", "m@1", ["positive"] * (MAX_TEXTS + 1), LABELS)
    assert feedback.record("a", "neutral", MAX_TEXTS - 1).predicted == "positive"
    with pytest.raises(InvalidInput, match="the index must be less than 256"):
        feedback.record("a", "neutral", MAX_TEXTS)


def test_a_version_that_has_gone_leaves_nothing(feedback: Feedback) -> None:
    feedback.record("a", "positive")
    feedback.forget("m@1")
    feedback.forget("m@1")
    assert feedback.counts("m@1") == {}
    with pytest.raises(NotFound):
        feedback.record("a", "positive")
    feedback.remember("b", "m@1", ["positive"], LABELS)  # it has come back
    with pytest.raises(NotFound):
        feedback.record("a", "positive")
    feedback.record("b", "neutral")
    assert feedback.counts("m@1") == {"positive": {"neutral": 1}}


def test_a_version_with_other_labels_is_another_one(feedback: Feedback) -> None:
    feedback.record("a", "positive")
    feedback.remember("b", "m@1", ["good"], ("bad", "good"))
    feedback.record("b", "bad")
    assert feedback.counts("m@1") == {"good": {"bad": 1}}
    with pytest.raises(NotFound):
        feedback.record("a", "positive")


LABEL = st.sampled_from(LABELS)


@given(st.lists(LABEL, min_size=4, max_size=4), st.lists(st.tuples(st.integers(0, 3), LABEL), max_size=30))
def test_the_counts_are_those_of_the_last_feedback_for_each_text(
    predicted: list[str], said: list[tuple[int, str]]
) -> None:
    feedback = Feedback()
    feedback.remember("a", "m@1", predicted, LABELS)
    for index, label in said:
        feedback.record("a", label, index)
    expected = Counter((predicted[index], label) for index, label in dict(said).items())
    found = {(row, label): count for row, counts in feedback.counts("m@1").items() for label, count in counts.items()}
    assert found == expected
