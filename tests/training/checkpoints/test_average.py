"""The mean of checkpoints."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from app.inference.artifact import open_artifact
from app.inference.model import load_model
from tests.support.tiny import tiny_classifier
from training.__main__ import main


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A checkpoint, and one whose weights are twice as large."""
    one = tiny_classifier(tmp_path_factory.mktemp("tiny"))
    (one / "training.json").write_text('{"recipe": 1}')
    other = one.with_name("other")
    shutil.copytree(one, other)
    weights = load_file(one / "model.safetensors")
    save_file({name: 2 * weight for name, weight in weights.items()}, other / "model.safetensors", {"format": "pt"})
    return [one, other]


def test_each_weight_is_the_mean(checkpoints: list[Path], tmp_path: Path) -> None:
    main(["average", *map(str, checkpoints), "--out", str(tmp_path / "mean")])
    mean, one = load_file(tmp_path / "mean" / "model.safetensors"), load_file(checkpoints[0] / "model.safetensors")
    assert mean.keys() == one.keys()
    for name, weight in mean.items():
        torch.testing.assert_close(weight, 1.5 * one[name].float())
    assert json.loads((tmp_path / "mean" / "training.json").read_text()) == {"average_of": [{"recipe": 1}] * 2}
    model = load_model(str(tmp_path / "mean"), backend="torch", device="cpu")
    assert model.runner.run(model.tokenizer.encode_many(["It runs."]))


def test_checkpoints_can_have_different_weights(checkpoints: list[Path], tmp_path: Path) -> None:
    main(["average", *map(str, checkpoints), "--weights", "3", "1", "--out", str(tmp_path / "mean")])
    mean, one = load_file(tmp_path / "mean" / "model.safetensors"), load_file(checkpoints[0] / "model.safetensors")
    for name, weight in mean.items():
        torch.testing.assert_close(weight, 1.25 * one[name].float())
    record = json.loads((tmp_path / "mean" / "training.json").read_text())
    assert record == {"average_of": [{"recipe": 1}] * 2, "weights": [3, 1]}


def test_shares_can_be_large_and_a_record_can_be_missing(checkpoints: list[Path], tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(checkpoints[0], bare)
    (bare / "training.json").unlink()
    shares = ["1e308", "1e308"]
    main(["average", str(bare), str(checkpoints[1]), "--weights", *shares, "--out", str(tmp_path / "mean")])
    mean, one = load_file(tmp_path / "mean" / "model.safetensors"), load_file(checkpoints[0] / "model.safetensors")
    for name, weight in mean.items():
        torch.testing.assert_close(weight, 1.5 * one[name].float())
    assert json.loads((tmp_path / "mean" / "training.json").read_text())["average_of"] == [None, {"recipe": 1}]


@pytest.mark.parametrize("weights", [["1"], ["1", "1", "1"], ["1", "0"], ["1", "-1"], ["1", "nan"]])
def test_each_checkpoint_needs_a_weight_above_zero(weights: list[str], checkpoints: list[Path], tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="one number above zero for each"):
        main(["average", *map(str, checkpoints), "--weights", *weights, "--out", str(tmp_path / "m")])
    assert not (tmp_path / "m").exists()


def test_a_different_model_is_rejected(checkpoints: list[Path], tmp_path: Path) -> None:
    stranger = tmp_path / "stranger"
    shutil.copytree(checkpoints[0], stranger)
    (stranger / "config.json").write_text("{}")
    with pytest.raises(SystemExit, match=r"stranger and .* are different models"):
        main(["average", str(checkpoints[0]), str(stranger), "--out", str(tmp_path / "mean")])
    with pytest.raises(SystemExit, match="give two or more checkpoints to average"):
        main(["average", str(checkpoints[0]), "--out", str(tmp_path / "mean")])
    assert not (tmp_path / "mean").exists()


def test_an_artifact_is_rejected(checkpoints: list[Path], tmp_path: Path) -> None:
    artifact = str(open_artifact("sentiment-en").directory)
    for order in ([artifact, str(checkpoints[0])], [str(checkpoints[0]), artifact], [artifact, artifact]):
        with pytest.raises(SystemExit, match="is an artifact with rounded weights"):
            main(["average", *order, "--out", str(tmp_path / "mean")])
    assert not (tmp_path / "mean").exists()


def test_temperature_and_other_files_are_not_copied(checkpoints: list[Path], tmp_path: Path) -> None:
    for number, checkpoint in enumerate(checkpoints):
        copy = tmp_path / str(number)
        shutil.copytree(checkpoint, copy)
        config = json.loads((copy / "config.json").read_text()) | {"calibration_temperature": 2.5 + number}
        (copy / "config.json").write_text(json.dumps(config))
        (copy / "model_int8.onnx").write_text("of these weights")
    main(["average", str(tmp_path / "0"), str(tmp_path / "1"), "--out", str(tmp_path / "mean")])
    assert open_artifact(str(tmp_path / "mean")).temperature == 1
    assert {file.name for file in (tmp_path / "mean").iterdir()} == {
        "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "training.json",
    }  # fmt: skip


def test_an_existing_directory_is_not_overwritten(checkpoints: list[Path], tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="already exists; choose another name"):
        main(["average", *map(str, checkpoints), "--out", str(tmp_path)])
    assert not [*tmp_path.iterdir()]
