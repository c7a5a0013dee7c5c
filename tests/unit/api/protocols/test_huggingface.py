"""What the scores of Hugging Face's protocol are."""

import numpy as np
import pytest

from app.api.protocols.huggingface import render
from app.inference.backends.mock import MockBackend
from app.inference.runner import Runner
from app.types import Batch, Encoding, FloatArray, Prediction

LABELS = ("negative", "neutral", "positive")


LOGITS = np.array([-1.5, 0.25, 3.0], dtype=np.float32)


class Backend(MockBackend):
    def run(self, batch: Batch) -> FloatArray:
        return np.tile(LOGITS, (len(batch), 1))


def predict(temperature: float = 1.0) -> Prediction:
    (prediction,) = Runner(Backend(), LABELS, 0, temperature).run([Encoding([5, 6], truncated=False)])
    assert isinstance(prediction, Prediction)
    return prediction


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_the_softmax_of_the_logits_is_the_scores(temperature: float) -> None:
    prediction = predict(temperature)
    logits = np.array([*prediction.logits().values()])
    assert logits == pytest.approx(LOGITS / temperature, abs=1e-5)
    assert np.exp(logits) / np.exp(logits).sum() == pytest.approx([*prediction.scores.values()])
    shown = {each["label"]: each["score"] for each in render(prediction, "none", None)}
    assert [shown[label] for label in LABELS] == pytest.approx(logits, abs=1e-4)


def test_sigmoid_is_that_of_each_logit() -> None:
    prediction = predict()
    shown = {each["label"]: each["score"] for each in render(prediction, "sigmoid", None)}
    assert [shown[label] for label in LABELS] == pytest.approx(1 / (1 + np.exp(-LOGITS)), abs=1e-4)


@pytest.mark.parametrize("function", [None, "softmax", "sigmoid", "none"])
def test_the_best_class_is_first(function: str) -> None:
    prediction = predict()
    scores = [each["score"] for each in render(prediction, function, None)]  # type: ignore[arg-type]
    assert scores == sorted(scores, reverse=True)
    assert [each["label"] for each in render(prediction, function, 1)] == [prediction.label]  # type: ignore[arg-type]


def test_a_probability_of_zero_has_a_finite_logit() -> None:
    prediction = Prediction("a", 1.0, {"a": 1.0, "b": 0.0})
    assert np.isfinite([*prediction.logits().values()]).all()
    assert render(prediction, "sigmoid", None)[1]["score"] == 0
