"""Other names for the labels of a model."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from app.inference.artifact import open_artifact
from app.inference.development import read_development
from app.inference.golden import read_golden
from app.inference.model import load_model
from tests.support.checkpoints import checkpoint
from training.__main__ import main

TEXT = "What a wonderful day, I love it."


@pytest.fixture(params=["checkpoint", "artifact"])
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A model with the labels negative, neutral and positive."""
    if request.param == "artifact":
        return Path(shutil.copytree(open_artifact("sentiment-en").directory, tmp_path / "model"))
    names = dict(enumerate(("NEGATIVE", "neutral", "Positive")))
    return checkpoint(tmp_path / "model", "bert", pad_token_id=0, max_position_embeddings=40, id2label=names)


def test_labels_are_served_as_they_are_named(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = load_model(str(model), device="cpu").predict([TEXT])[0]
    main(["rename-labels", str(model), "--map", "negative:Schlecht,POSITIVE:Sehr gut"])
    assert capsys.readouterr().out == "labels: Schlecht, neutral, Sehr gut\n"
    artifact = open_artifact(str(model))
    artifact.verify_companions()
    assert artifact.labels == ("Schlecht", "neutral", "Sehr gut")
    after = load_model(str(model), device="cpu").predict([TEXT])[0]
    assert [*after.scores.values()] == [*before.scores.values()]
    config = json.loads((model / "config.json").read_text())
    assert config["label2id"] == {"Schlecht": 0, "neutral": 1, "Sehr gut": 2}


def test_what_an_artifact_says_about_its_answers_gets_the_new_names(tmp_path: Path) -> None:
    copy = Path(shutil.copytree(open_artifact("sentiment-en").directory, tmp_path / "model"))
    before = open_artifact(str(copy))
    texts, development = read_golden(before), read_development(before)
    main(["rename-labels", str(copy), "--map", "negative:Schlecht"])
    after = open_artifact(str(copy))
    renamed = {"negative": "Schlecht", "neutral": "neutral", "positive": "positive"}
    assert read_golden(after) == tuple(replace(each, label=renamed[each.label]) for each in texts) != ()
    assert development is not None
    shares = {renamed[label]: share for label, share in development.labels.items()}
    assert read_development(after) == replace(development, labels=shares)
    after.verify_companions()


def test_an_artifact_without_golden_texts_can_be_renamed(tmp_path: Path) -> None:
    copy = Path(shutil.copytree(open_artifact("sentiment-en").directory, tmp_path / "model"))
    manifest = json.loads((copy / "manifest.json").read_text())
    del manifest["files"]["golden.jsonl"], manifest["development"]
    (copy / "manifest.json").write_text(json.dumps(manifest))
    main(["rename-labels", str(copy), "--map", "negative:Schlecht"])
    renamed = open_artifact(str(copy))
    assert renamed.labels[0] == "Schlecht"
    assert (read_golden(renamed), read_development(renamed)) == ((), None)
    renamed.verify_companions()


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        ("joy:x", "has no label joy; it has negative, neutral, positive"),
        ("negative:positive", "two labels would be equal: positive, neutral, positive"),
        ("negative:Neutral", "two labels would be equal"),
        ("negative:x,other=drop", "other= has no meaning here"),
        ("negative", "expected THEIRS:OURS"),
    ],
)
def test_impossible_names_change_nothing(model: Path, names: str, complaint: str) -> None:
    before = (model / "config.json").read_bytes()
    with pytest.raises(SystemExit, match=complaint):
        main(["rename-labels", str(model), "--map", names])
    assert (model / "config.json").read_bytes() == before
