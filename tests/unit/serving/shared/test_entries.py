"""Predictions as bytes: exact, small, without words, and nothing else is taken for one."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.inference import Model
from app.serving.cache import key_of
from app.serving.shared import Entries
from app.types import Prediction

LABELS = ("negative", "neutral", "positive")
ENTRIES = Entries(b"fingerprint", LABELS, 0.0)
KEY = ENTRIES.key(key_of("some text"))
PREDICTION = Prediction("positive", 0.7, {"negative": 0.1, "neutral": 0.2, "positive": 0.7}, log_sum=1.5)


@given(st.lists(st.floats(1e-9, 1), min_size=3, max_size=3), st.floats(-1e6, 1e6), st.booleans())
def test_a_prediction_comes_back_exactly(weights: list[float], log_sum: float, truncated: bool) -> None:
    scores = {label: weight / sum(weights) for label, weight in zip(LABELS, weights, strict=True)}
    best = max(scores, key=lambda label: scores[label])
    prediction = Prediction(best, scores[best], scores, truncated, log_sum)
    restored = ENTRIES.unpack(KEY, ENTRIES.pack(KEY, prediction))
    assert restored == prediction
    assert restored.log_sum == log_sum
    assert [*restored.scores] == [*scores]


def test_predictions_of_the_embedded_model_come_back_exactly(embedded: Model) -> None:
    entries = Entries(b"fingerprint", embedded.info.labels, embedded.info.abstain_below)
    for prediction in embedded.predict(["I love it.", "I hate it.", "It is a chair.", "so long " * 600]):
        value = entries.pack(KEY, prediction)
        assert entries.unpack(KEY, value) == prediction
        assert len(value) == 47


def test_a_key_shows_no_text_and_depends_on_everything() -> None:
    assert KEY.startswith(b"rt-sentiment:cache:")
    assert b"some" not in KEY
    others = [
        ENTRIES.key(key_of("another text")),
        ENTRIES.key(key_of("some text", b"caller")),
        ENTRIES.key(key_of("some text") + b"\0\0\0\0"),
        Entries(b"another model", LABELS, 0.0).key(key_of("some text")),
    ]
    assert len({KEY, *others}) == 5
    assert Entries(b"fingerprint", LABELS, 0.9).key(key_of("some text")) == KEY


def test_each_process_abstains_by_its_own_limit() -> None:
    value = ENTRIES.pack(KEY, dataclasses.replace(PREDICTION, abstain_below=0.9))
    restored = ENTRIES.unpack(KEY, value)
    assert restored
    assert restored.shown_label == "positive"
    careful = Entries(b"fingerprint", LABELS, 0.8).unpack(KEY, value)
    assert careful
    assert careful.shown_label is None


@pytest.mark.parametrize("value", [None, b"", b"text", b"\0" * 45, b"x" * 45, b"1" * 100_000])
def test_a_foreign_value_is_a_miss(value: bytes | None) -> None:
    assert ENTRIES.unpack(KEY, value) is None


def test_a_damaged_value_is_a_miss() -> None:
    value = ENTRIES.pack(KEY, PREDICTION)
    assert ENTRIES.unpack(KEY, value) == PREDICTION
    for place in range(len(value)):
        assert ENTRIES.unpack(KEY, value[:place] + bytes([value[place] ^ 1]) + value[place + 1 :]) is None
    assert ENTRIES.unpack(KEY, value[:-1]) is None


def test_a_value_of_another_key_is_a_miss() -> None:
    assert ENTRIES.unpack(ENTRIES.key(b"other"), ENTRIES.pack(KEY, PREDICTION)) is None


@pytest.mark.parametrize(
    "scores", [(0.5, 0.6, 0.7), (-0.5, 0.5, 1.0), (float("nan"), 0.5, 0.5), (float("inf"), 0.0, 0.0)]
)
def test_impossible_scores_are_a_miss(scores: tuple[float, ...]) -> None:
    wrong = dataclasses.replace(PREDICTION, scores=dict(zip(LABELS, scores, strict=True)))
    assert ENTRIES.unpack(KEY, ENTRIES.pack(KEY, wrong)) is None
