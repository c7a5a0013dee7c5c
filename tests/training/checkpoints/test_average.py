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
    """One, and another whose weights are twice as large."""
    one = tiny_classifier(tmp_path_factory.mktemp("tiny"))
    (one / "training.json").write_text('{"recipe": 1}')
    other = one.with_name("other")
    shutil.copytree(one, other)
    weights = load_file(one / "model.safetensors")
    save_file({name: 2 * weight for name, weight in weights.items()}, other / "model.safetensors", {"format": "pt"})
    return [one, other]


def test_each_weight_is_the_mean_of_its_kind(checkpoints: list[Path], tmp_path: Path) -> None:
    main(["average", *map(str, checkpoints), "--out", str(tmp_path / "mean")])
    found, one = load_file(tmp_path / "mean" / "model.safetensors"), load_file(checkpoints[0] / "model.safetensors")
    assert found.keys() == one.keys()
    for name, weight in found.items():
        torch.testing.assert_close(weight, 1.5 * one[name].float())
    assert json.loads((tmp_path / "mean" / "training.json").read_text()) == {"average_of": [{"recipe": 1}] * 2}
    model = load_model(str(tmp_path / "mean"), backend="torch", device="cpu")
    assert model.runner.run(model.tokenizer.encode_many(["It runs."]))


def test_one_may_count_more_than_another(checkpoints: list[Path], tmp_path: Path) -> None:
    main(["average", *map(str, checkpoints), "--weights", "3", "1", "--out", str(tmp_path / "mean")])
    found, one = load_file(tmp_path / "mean" / "model.safetensors"), load_file(checkpoints[0] / "model.safetensors")
    for name, weight in found.items():
        torch.testing.assert_close(weight, 1.25 * one[name].float())
    record = json.loads((tmp_path / "mean" / "training.json").read_text())
    assert record == {"average_of": [{"recipe": 1}] * 2, "weights": [3, 1]}


def test_shares_may_be_of_any_size_and_one_may_lack_a_record(checkpoints: list[Path], tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(checkpoints[0], bare)
    (bare / "training.json").unlink()
    shares = ["1e308", "1e308"]
    main(["average", str(bare), str(checkpoints[1]), "--weights", *shares, "--out", str(tmp_path / "mean")])
    found, one = load_file(tmp_path / "mean" / "model.safetensors"), load_file(checkpoints[0] / "model.safetensors")
    for name, weight in found.items():
        torch.testing.assert_close(weight, 1.5 * one[name].float())
    assert json.loads((tmp_path / "mean" / "training.json").read_text())["average_of"] == [None, {"recipe": 1}]


@pytest.mark.parametrize("weights", [["1"], ["1", "1", "1"], ["1", "0"], ["1", "-1"], ["1", "nan"]])
def test_each_needs_a_weight_above_zero(weights: list[str], checkpoints: list[Path], tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="a number above zero for each"):
        main(["average", *map(str, checkpoints), "--weights", *weights, "--out", str(tmp_path / "m")])
    assert not (tmp_path / "m").exists()


def test_another_model_is_refused(checkpoints: list[Path], tmp_path: Path) -> None:
    stranger = tmp_path / "stranger"
    shutil.copytree(checkpoints[0], stranger)
    (stranger / "config.json").write_text("{}")
    with pytest.raises(SystemExit, match="stranger is another model than"):
        main(["average", str(checkpoints[0]), str(stranger), "--out", str(tmp_path / "mean")])
    with pytest.raises(SystemExit, match="an average takes two checkpoints or more"):
        main(["average", str(checkpoints[0]), "--out", str(tmp_path / "mean")])
    assert not (tmp_path / "mean").exists()


def test_an_artifact_is_refused(checkpoints: list[Path], tmp_path: Path) -> None:
    artifact = str(open_artifact("sentiment-en").directory)
    for order in ([artifact, str(checkpoints[0])], [str(checkpoints[0]), artifact], [artifact, artifact]):
        with pytest.raises(SystemExit, match="an artifact, whose weights are rounded"):
            main(["average", *order, "--out", str(tmp_path / "mean")])
    assert not (tmp_path / "mean").exists()


def test_a_temperature_and_what_else_lies_there_belong_to_the_checkpoints_alone(
    checkpoints: list[Path], tmp_path: Path
) -> None:
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


def test_what_is_there_stays(checkpoints: list[Path], tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="exists; name another"):
        main(["average", *map(str, checkpoints), "--out", str(tmp_path)])
    assert not [*tmp_path.iterdir()]
