"""Where a training starts from."""

from pathlib import Path

import pytest

from app.inference.artifact import open_artifact
from tests.support.checkpoints import edit
from tests.support.tiny import tiny_classifier
from training.__main__ import main
from training.checkpoints import Device, find_checkpoint
from training.errors import InputError


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_classifier(tmp_path_factory.mktemp("tiny"))


def test_an_embedded_model_has_a_name() -> None:
    assert find_checkpoint("sentiment-en") == open_artifact("sentiment-en").directory


def test_a_checkpoint_is_a_directory(classifier: Path) -> None:
    assert find_checkpoint(classifier) == classifier.resolve()


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("run", "run is the directory of a training; its model is in .*run/checkpoint"),
        ("gone", "no such model: .*gone does not exist; .* has onnx, run"),
        ("nowhere/at/all", "no such model: .*nowhere/at/all is neither a directory, an embedded model nor a hub name$"),
        ("onnx", "onnx: no model.safetensors; a training needs weights for PyTorch"),
    ],
)
def test_what_is_no_checkpoint_is_explained(classifier: Path, tmp_path: Path, name: str, complaint: str) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoint").symlink_to(classifier)
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx" / "config.json").write_text("{}")
    with pytest.raises(InputError, match=complaint):
        find_checkpoint(tmp_path / name)
    for step in (["calibrate", str(tmp_path / name)], ["label", str(tmp_path / name), "--out", str(tmp_path / "x")]):
        (tmp_path / "a.csv").write_text("text,label\na,b\n")
        with pytest.raises(SystemExit, match=rf"^{step[0]}: .*{complaint}"):
            main([*step, "--data", str(tmp_path / "a.csv")])


def test_labels_of_a_trained_model_are_as_they_are_written(classifier: Path, tmp_path: Path) -> None:
    model = Device().load(classifier, ("Late Delivery", "退款"))
    model.save_pretrained(tmp_path)
    edit(tmp_path / "config.json")  # it is still JSON
    assert open_artifact(str(tmp_path)).labels == ("Late Delivery", "退款")
