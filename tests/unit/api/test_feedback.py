"""What is remembered of a request, for feedback."""

import pytest

from app.api.context import begin
from app.api.feedback import remember
from app.errors import InvalidInput, NotFound
from app.serving import Feedback
from app.types import Prediction
from tests.support.client import scope_of

GOOD = Prediction("positive", 0.9, {"negative": 0.1, "positive": 0.9})


@pytest.fixture
def feedback() -> Feedback:
    return Feedback()


def test_labels_are_remembered_in_their_places(feedback: Feedback) -> None:
    context = begin(scope_of(headers={"x-request-id": "a"}))
    context.model, context.key_name = "m@1", "web"
    remember(feedback, context, [InvalidInput("blank"), GOOD])
    assert feedback.record("web a", "negative", 1).predicted == "positive"
    with pytest.raises(InvalidInput, match="got no prediction"):
        feedback.record("web a", "negative", 0)
    with pytest.raises(NotFound):
        feedback.record(" a", "negative", 1)


@pytest.mark.parametrize("results", [[], [InvalidInput("blank")]])
def test_a_request_without_predictions_is_not_remembered(feedback: Feedback, results: list[object]) -> None:
    context = begin(scope_of(headers={"x-request-id": "a"}))
    remember(feedback, context, results)
    with pytest.raises(NotFound):
        feedback.record(" a", "negative")
    assert feedback.counts("") == {}


def test_a_label_below_the_limit_of_confidence_gets_feedback_too(feedback: Feedback) -> None:
    context = begin(scope_of(headers={"x-request-id": "a"}))
    context.model = "m@1"
    unsure = Prediction("positive", 0.6, {"negative": 0.4, "positive": 0.6}, abstain_below=0.7)
    assert unsure.shown_label is None
    remember(feedback, context, [unsure])
    feedback.record(" a", "positive")
    assert feedback.counts("m@1") == {"positive": {"positive": 1}}
