import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from app.errors import ArtifactError
from app.inference.artifact import Artifact, open_artifact
from tests.support.process import ROOT

THREE = {"0": "NEGATIVE", "2": "Positive", "1": "neutral"}


def make(directory: Path, config: dict[str, Any] | None = None, **files: str) -> Path:
    content = {"id2label": THREE, "max_position_embeddings": 512} | (config or {})
    (directory / "config.json").write_text(json.dumps(content))
    for name, text in (files or {"model.onnx": "graph"}).items():
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_text(text)
    return directory


def test_the_embedded_model_is_found_by_its_name() -> None:
    artifact = open_artifact("sentiment-en")
    assert artifact.labels == ("negative", "neutral", "positive")
    assert artifact.max_tokens == 512
    assert artifact.files.keys() == {"int8", "safetensors"}
    assert artifact.version != "unversioned"


def test_the_embedded_model_is_complete_and_under_60_mb() -> None:
    artifact = open_artifact("sentiment-en")
    listed = artifact.manifest["files"]
    present = {file.name for file in artifact.directory.iterdir()} - {"manifest.json", "MODEL_CARD.md"}
    assert present == set(listed)
    artifact.verify(*(artifact.directory / name for name in listed))
    assert sum(file.stat().st_size for file in (ROOT / "models").rglob("*") if file.is_file()) < 60_000_000


def test_labels_are_lower_case_in_the_models_order(tmp_path: Path) -> None:
    artifact = open_artifact(str(make(tmp_path)))
    assert artifact.labels == ("negative", "neutral", "positive")
    assert artifact.name == tmp_path.name
    assert artifact.version == "unversioned"


@pytest.mark.parametrize(
    ("config", "tokens"),
    [
        ({"max_position_embeddings": 128}, 128),
        ({"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 1}, 512),
        ({"max_position_embeddings": None}, 512),
    ],
)
def test_the_positions_of_the_model_limit_its_tokens(tmp_path: Path, config: dict[str, Any], tokens: int) -> None:
    assert open_artifact(str(make(tmp_path, config))).max_tokens == tokens


def test_the_tokenizer_can_limit_the_tokens_further(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"model_max_length": 256}')
    assert open_artifact(str(tmp_path)).max_tokens == 256
    (tmp_path / "tokenizer_config.json").write_text('{"model_max_length": 1000000000000000019884624838656}')
    assert open_artifact(str(tmp_path)).max_tokens == 512


def test_files_are_found_where_hub_models_have_them(tmp_path: Path) -> None:
    make(tmp_path, None, **{"onnx/model.onnx": "a", "onnx/model_quantized.onnx": "b", "model.safetensors": "c"})
    files = open_artifact(str(tmp_path)).files
    assert {kind: file.relative_to(tmp_path.resolve()).as_posix() for kind, file in files.items()} == {
        "int8": "onnx/model_quantized.onnx",
        "onnx": "onnx/model.onnx",
        "safetensors": "model.safetensors",
    }


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"id2label": None}, "not a classifier"),
        ({"id2label": {"0": "score"}}, "not a classifier"),
        ({"problem_type": "multi_label_classification"}, "not a classifier"),
        ({"id2label": {"0": "Good", "1": "good"}}, "differ in case"),
    ],
)
def test_a_model_that_is_not_a_classifier_is_refused(tmp_path: Path, config: dict[str, Any], message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        open_artifact(str(make(tmp_path, config)))


@pytest.mark.parametrize(
    ("config", "expected"), [({}, 1.0), ({"calibration_temperature": 1.7}, 1.7), ({"calibration_temperature": 2}, 2.0)]
)
def test_the_temperature_is_1_unless_the_config_has_another(
    tmp_path: Path, config: dict[str, Any], expected: float
) -> None:
    temperature = open_artifact(str(make(tmp_path, config))).temperature
    assert temperature == expected
    assert type(temperature) is float


@pytest.mark.parametrize("value", ['"1"', "0", "-0.0", "-1", "NaN", "Infinity", "9" * 400, "true", "null", "[2]"])
def test_a_temperature_must_be_a_finite_number_above_0(tmp_path: Path, value: str) -> None:
    file = make(tmp_path) / "config.json"
    file.write_text(file.read_text().replace("{", f'{{"calibration_temperature": {value}, ', 1))
    with pytest.raises(ArtifactError, match=r"config\.json: calibration_temperature must be a finite number above 0"):
        open_artifact(str(tmp_path))


def test_the_error_names_the_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"no config\.json"):
        open_artifact(str(tmp_path))
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(ArtifactError, match="not a JSON object"):
        open_artifact(str(tmp_path))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ArtifactError, match="not valid JSON"):
        open_artifact(str(tmp_path))


@pytest.mark.parametrize("name", ["nope", "/no/such/place", "./a/b", "a/b/c"])
def test_an_unknown_model_is_refused(name: str) -> None:
    with pytest.raises(ArtifactError, match="no such model"):
        open_artifact(name)


def test_a_hub_model_that_cannot_be_downloaded_is_refused() -> None:
    with pytest.raises(ArtifactError, match="could not be downloaded from the hub"):
        open_artifact("somebody/some-model")


@pytest.mark.parametrize(("model", "revision"), [("a/b", None), ("a/b@1f3c", "1f3c"), ("a/b@refs/pr/1", "refs/pr/1")])
def test_a_hub_name_may_have_a_revision(
    model: str, revision: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments: dict[str, object] = {}

    def snapshot_download(name: str, **options: object) -> str:
        arguments.update(options, name=name)
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    with pytest.raises(ArtifactError, match=r"no config\.json"):
        open_artifact(model)
    assert (arguments["name"], arguments["revision"]) == ("a/b", revision)


def test_the_error_names_a_file_that_was_replaced(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(open_artifact("sentiment-en").directory, copy)
    artifact = open_artifact(str(copy))
    artifact.verify(*artifact.files.values())
    file = artifact.files["int8"]
    with file.open("r+b") as stream:
        stream.seek(1000)
        stream.write(b"\0\1\2\3")
    with pytest.raises(ArtifactError, match=r"model_int8\.onnx: checksum differs"):
        artifact.verify(file)


def test_the_checksum_is_from_the_manifest_or_computed(tmp_path: Path) -> None:
    file = make(tmp_path) / "model.onnx"
    computed = hashlib.sha256(b"graph").hexdigest()
    artifact = open_artifact(str(tmp_path))
    assert artifact.checksum(artifact.files["onnx"]) == computed
    artifact = Artifact("n", tmp_path, ("a", "b"), 1, 0, {}, {"files": {"model.onnx": {"sha256": "from the manifest"}}})
    assert artifact.checksum(file) == "from the manifest"
