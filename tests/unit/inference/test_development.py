"""What a manifest says about the answers to held-out texts."""

import json
from pathlib import Path
from typing import Any

import pytest

from app.errors import ArtifactError
from app.inference import Development, open_artifact, read_development
from app.inference.artifact import Artifact, sha256
from app.inference.development import CONFIDENCE_EDGES, TOKEN_EDGES, Histogram, measure_development
from app.inference.files import MANIFEST
from app.types import Prediction

VALID: dict[str, Any] = {
    "texts": 4,
    "labels": {"good": 0.75, "bad": 0.25},
    "confidence": {"edges": [0.5, 0.9], "shares": [0.25, 0.25, 0.5]},
    "tokens": {"edges": [8], "shares": [1, 0]},
}
PARSED = Development(
    4,
    {"bad": 0.25, "good": 0.75},
    Histogram((0.5, 0.9), (0.25, 0.25, 0.5)),
    Histogram((8.0,), (1.0, 0.0)),
)


def artifact(directory: Path, development: object = None) -> Artifact:
    """A model with the labels bad and good, and the development distributions in its manifest, if any."""
    config = directory / "config.json"
    config.write_text('{"id2label": {"0": "bad", "1": "good"}}')
    files = {"config.json": {"sha256": sha256(config)}}
    stated = {} if development is None else {"development": development}
    (directory / MANIFEST).write_text(json.dumps({"files": files} | stated))
    return open_artifact(str(directory))


def answer(label: str, confidence: float) -> Prediction:
    return Prediction(label, confidence, {label: confidence})


def test_a_model_without_distributions_has_none(tmp_path: Path) -> None:
    assert read_development(artifact(tmp_path)) is None


def test_distributions_are_read_with_labels_in_the_order_of_the_model(tmp_path: Path) -> None:
    development = read_development(artifact(tmp_path, VALID))
    assert development == PARSED
    assert [*development.labels] == ["bad", "good"]


def test_what_is_measured_can_be_read(tmp_path: Path) -> None:
    answers = [answer("good", 0.95), answer("good", 0.4), answer("good", 0.999), answer("bad", 0.39)]
    measured = measure_development(("bad", "good"), answers, [7, 8, 300, 31])
    assert measured.texts == 4
    assert measured.labels == {"bad": 0.25, "good": 0.75}
    assert measured.confidence == Histogram(CONFIDENCE_EDGES, (0.25, 0.25, 0, 0, 0, 0, 0, 0.25, 0.25))
    assert measured.tokens == Histogram(TOKEN_EDGES, (0.25, 0.25, 0.25, 0, 0, 0, 0.25))
    assert read_development(artifact(tmp_path, json.loads(json.dumps(measured.render())))) == measured


def test_shares_are_rounded(tmp_path: Path) -> None:
    measured = measure_development(("bad", "good"), [answer("bad", 0.5)] * 2 + [answer("good", 0.5)], [3, 3, 3])
    assert measured.render()["labels"] == {"bad": 0.666667, "good": 0.333333}
    assert read_development(artifact(tmp_path, measured.render())) == measured


def test_an_edge_belongs_to_the_bin_above_it() -> None:
    assert [PARSED.confidence_bin(value) for value in (0.0, 0.49, 0.5, 0.89, 0.9, 1.0)] == [0, 0, 1, 1, 2, 2]
    assert [PARSED.token_bin(tokens) for tokens in (1, 7, 8, 9000)] == [0, 0, 1, 1]


SHARES = "the shares of {} must be numbers of at least 0 with the sum 1"
EDGES = "the edges of {} must be at most 100 numbers, each above the one before"


@pytest.mark.parametrize("layers", [[1], {"a": 1}, {"3": 0.5}, {"3": -1, "6": 2}])
def test_shares_of_layers_must_be_shares(tmp_path: Path, layers: object) -> None:
    with pytest.raises(ArtifactError, match="layers"):
        read_development(artifact(tmp_path, VALID | {"layers": layers}))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"texts": 0}, "texts must be a whole number of at least 1"),
        ({"texts": True}, "texts must be a whole number of at least 1"),
        ({"texts": 2.5}, "texts must be a whole number of at least 1"),
        ({"labels": ["good", "bad"]}, "labels must have the share of each label of the model: bad, good"),
        ({"labels": {"good": 1.0}}, "labels must have the share of each label of the model: bad, good"),
        ({"labels": {"good": 0.5, "bad": 0.5, "joy": 0}}, "labels must have the share of each label"),
        ({"labels": {"good": 0.5, "bad": 0.4}}, SHARES.format("labels")),
        ({"labels": {"good": 1.5, "bad": -0.5}}, SHARES.format("labels")),
        ({"labels": {"good": 1, "bad": False}}, SHARES.format("labels")),
        ({"confidence": None}, "confidence must have edges and shares"),
        ({"tokens": {"edges": [8]}}, "tokens must have edges and shares"),
        ({"tokens": {"edges": [8, 8], "shares": [1, 0, 0]}}, EDGES.format("tokens")),
        ({"tokens": {"edges": ["8"], "shares": [1, 0]}}, EDGES.format("tokens")),
        ({"tokens": {"edges": [float("nan")], "shares": [1, 0]}}, EDGES.format("tokens")),
        ({"tokens": {"edges": [10**400], "shares": [1, 0]}}, EDGES.format("tokens")),
        ({"tokens": {"edges": [*range(101)], "shares": [1] + [0] * 101}}, EDGES.format("tokens")),
        ({"tokens": {"edges": [8], "shares": [1]}}, "tokens must have one more share than edges"),
        ({"tokens": {"edges": [8], "shares": [1, float("inf")]}}, SHARES.format("tokens")),
    ],
    ids=str,
)
def test_distributions_that_are_not_valid_are_refused(tmp_path: Path, changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ArtifactError, match=rf"manifest\.json: `development`: {complaint}"):
        read_development(artifact(tmp_path, VALID | changes))


def test_distributions_must_be_an_object(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="must be an object with texts, labels, confidence and tokens"):
        read_development(artifact(tmp_path, []))


def test_the_embedded_model_has_distributions_of_many_texts() -> None:
    development = read_development(open_artifact("sentiment-en"))
    assert development is not None
    assert development.texts == 2000
    assert min(development.labels.values()) > 0.2
    assert len(development.confidence.shares) == 9


def test_a_model_with_exits_has_the_shares_of_layers(tmp_path: Path) -> None:
    answers = [Prediction("bad", 0.9, {}, layers=layers) for layers in (3, 6, 3, 3)]
    measured = measure_development(["bad", "good"], answers, [5, 5, 5, 5])
    assert measured.layers == {3: 0.75, 6: 0.25}
    assert read_development(artifact(tmp_path, measured.render())) == measured
