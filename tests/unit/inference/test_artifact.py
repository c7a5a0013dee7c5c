import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub.utils import filter_repo_objects

from app.errors import ArtifactError
from app.inference.artifact import open_artifact
from app.inference.checkpoint import _PAD_IDS, _POSITIONS
from tests.support.process import ROOT

INDEX = "model.safetensors.index.json"
THREE = {"0": "NEGATIVE", "2": "Positive", "1": "neutral"}


def make(directory: Path, config: dict[str, Any] | None = None, **files: str) -> Path:
    content = {"id2label": THREE, "max_position_embeddings": 512} | (config or {})
    stated = {key: value for key, value in content.items() if value is not ...}
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(stated))
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
    ("config", "labels"),
    [
        ({}, ("label_0", "label_1")),
        ({"num_labels": 3}, ("label_0", "label_1", "label_2")),
        ({"num_labels": None, "id2label": None, "problem_type": None}, ("label_0", "label_1")),
        ({"label2id": {"BAD": 0, "GOOD": 1}}, ("label_0", "label_1")),
        ({"id2label": {"1": "b", "0": "a", "2": "c"}, "num_labels": 2}, ("a", "b", "c")),
        ({"id2label": {str(index): index for index in range(11)}}, tuple(map(str, range(11)))),
        ({"problem_type": "single_label_classification", "architectures": None}, ("label_0", "label_1")),
    ],
)
def test_labels_have_the_defaults_of_transformers(
    tmp_path: Path, config: dict[str, Any], labels: tuple[str, ...]
) -> None:
    make(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert open_artifact(str(tmp_path)).labels == labels
    from transformers import AutoConfig  # takes seconds, and only some processes need it

    reference = AutoConfig.for_model("bert", **config).id2label
    assert tuple(str(reference[index]).lower() for index in range(len(labels))) == labels


def test_paddings_and_positions_have_the_defaults_of_transformers(tmp_path: Path) -> None:
    listed = {kind for defaults in (_PAD_IDS, _POSITIONS) for kinds in defaults.values() for kind in kinds.split()}
    encoders = {"albert", "bert", "deberta-v2", "distilbert", "electra", "lilt", "mobilebert", "rembert", "t5"}
    make(tmp_path)
    for model_type in listed | encoders:
        (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
        artifact = open_artifact(str(tmp_path))
        from transformers import AutoConfig

        reference = AutoConfig.for_model(model_type).to_dict()
        pad = reference.get("pad_token_id") or 0
        positions = reference.get("max_position_embeddings", reference.get("n_positions", 512))
        assert artifact.pad_id == pad, model_type
        assert artifact.max_tokens in (positions, positions - pad - 1), model_type


@pytest.mark.parametrize(
    ("config", "tokens"),
    [
        ({"max_position_embeddings": 128}, 128),
        ({"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 1}, 512),
        ({"model_type": "data2vec-text", "max_position_embeddings": 514, "pad_token_id": 1}, 512),
        ({"model_type": "longformer", "max_position_embeddings": 4098}, 4096),
        ({"model_type": "gpt2", "max_position_embeddings": ..., "n_positions": 256}, 256),
        ({"max_position_embeddings": None}, 512),
    ],
)
def test_the_positions_of_the_model_limit_its_tokens(tmp_path: Path, config: dict[str, Any], tokens: int) -> None:
    assert open_artifact(str(make(tmp_path, config))).max_tokens == tokens


def test_the_tokenizer_can_limit_the_tokens_further(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"model_max_length": 256}')
    assert open_artifact(str(tmp_path)).max_tokens == 256
    (tmp_path / "tokenizer_config.json").write_text('{"max_len": 128}')  # its older name
    assert open_artifact(str(tmp_path)).max_tokens == 128
    for none in ("1000000000000000019884624838656", "1e30", "Infinity", "null", "-1"):
        (tmp_path / "tokenizer_config.json").write_text(f'{{"model_max_length": {none}}}')
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
        ({"id2label": {"0": "score"}}, "not a classifier .* fewer than two labels"),
        ({"id2label": None, "num_labels": 1}, "not a classifier .* fewer than two labels"),
        ({"id2label": {}}, "not a classifier .* fewer than two labels"),
        ({"problem_type": "multi_label_classification"}, "not a classifier .* multi_label_classification"),
        ({"problem_type": "regression"}, "not a classifier .* regression"),
        (
            {"architectures": ["BertForMaskedLM"]},
            r"not a classifier .* BertForMaskedLM, not …ForSequenceClassification",
        ),
        ({"architectures": ["RobertaModel"]}, "not a classifier .* RobertaModel"),
        ({"architectures": ["BertForTokenClassification"]}, "not a classifier .* BertForTokenClassification"),
        ({"id2label": {"0": "Good", "1": "good"}}, "differ in case"),
        ({"id2label": {"0": "good", "1": "good"}}, "two labels in config.json are equal"),
        ({"id2label": {"0": "good", "2": "bad"}}, "id2label must map 0, 1, 2 … .* without a gap"),
        ({"id2label": {"1": "good", "2": "bad"}}, "id2label must map 0, 1, 2 …"),
        ({"id2label": {"zero": "good", "one": "bad"}}, "id2label must map 0, 1, 2 …"),
        ({"id2label": {"0": "good", "1": None}}, "id2label must map 0, 1, 2 …"),
        ({"id2label": ["good", "bad"]}, "id2label must map 0, 1, 2 …"),
        ({"id2label": None, "num_labels": "three"}, "num_labels must be a whole number"),
        ({"id2label": {"0": "good", "1": ""}}, "a label in id2label has no visible character"),
        ({"id2label": {"0": " ", "1": "good"}}, "a label in id2label has no visible character"),
        ({"id2label": {"0": "\u200b\u00a0", "1": "good"}}, "a label in id2label has no visible character"),
    ],
)
def test_a_model_that_is_not_a_classifier_is_refused(tmp_path: Path, config: dict[str, Any], message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        open_artifact(str(make(tmp_path, config)))


@pytest.mark.parametrize("stated", [10**30, 2**31, "1", 1.5, True, [0]])
def test_a_padding_id_that_is_not_a_token_id_is_refused(tmp_path: Path, stated: Any) -> None:
    with pytest.raises(ArtifactError, match=r"config\.json: pad_token_id must be the id of a token, not "):
        open_artifact(str(make(tmp_path, {"pad_token_id": stated})))


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"pad_token_id": 2**31 - 1}, 2**31 - 1),
        ({"pad_token_id": None, "model_type": "roberta"}, 0),
        ({"pad_token_id": -1, "model_type": "roberta"}, 1),
        ({"pad_token_id": -1}, 0),
    ],
)
def test_a_model_without_a_padding_id_has_a_default(tmp_path: Path, config: dict[str, Any], expected: int) -> None:
    assert open_artifact(str(make(tmp_path, config))).pad_id == expected


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


def test_a_typing_error_in_a_path_is_no_request_to_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "runs" / "feedback").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: pytest.fail("a request"))
    with pytest.raises(
        ArtifactError, match=r"runs/feedbak does not exist; runs has feedback; .*, write runs/feedbak@main"
    ):
        open_artifact("runs/feedbak")
    with pytest.raises(ArtifactError, match=r"checkpoint does not exist; .*feedback has no folders$"):
        open_artifact(f"{tmp_path}/runs/feedback/checkpoint")


def test_the_directory_of_a_training_leads_to_its_model(tmp_path: Path) -> None:
    make(tmp_path / "run" / "checkpoint")
    with pytest.raises(ArtifactError, match=r"run is the directory of a training; its model is in .*run/checkpoint$"):
        open_artifact(str(tmp_path / "run"))


def test_labels_keep_their_case_if_the_config_says_so(tmp_path: Path) -> None:
    names = {"id2label": {"0": "Refund", "1": "Late delivery"}}
    assert open_artifact(str(make(tmp_path / "a", names | {"keep_label_case": True}))).labels == (
        "Refund",
        "Late delivery",
    )
    assert open_artifact(str(make(tmp_path / "b", names | {"keep_label_case": "no"}))).labels[0] == "refund"
    equal = {"id2label": {"0": "Refund", "1": "refund"}, "keep_label_case": True}
    with pytest.raises(ArtifactError, match="differ in case only"):
        open_artifact(str(make(tmp_path / "c", equal)))


def test_a_model_with_several_labels_per_text_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError) as caught:
        open_artifact(str(make(tmp_path, {"problem_type": "multi_label_classification"})))
    assert str(caught.value).endswith(
        "not a classifier with one label per text: its problem_type in config.json is multi_label_classification, and "
        "models with several labels per text are not supported, because an answer has one label, and scores that sum "
        "to 1"
    )


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


def test_the_checksum_is_of_the_bytes_that_were_read(tmp_path: Path) -> None:
    file = make(tmp_path) / "model.onnx"
    artifact = open_artifact(str(tmp_path))
    assert list(artifact.read_weights(file)) == [("model.onnx", b"graph")]
    file.write_text("another")
    assert artifact.checksum(file) == hashlib.sha256(b"graph").hexdigest()
    assert open_artifact(str(tmp_path)).checksum(file) == hashlib.sha256(b"another").hexdigest()


class TestShards:
    def shards(self, directory: Path) -> Path:
        make(directory, None, **{"shard-1": "a", "shard-2": "b"})
        (directory / INDEX).write_text(json.dumps({"weight_map": {"x": "shard-1", "y": "shard-2", "z": "shard-1"}}))
        return directory

    def test_weights_in_shards_are_found_by_their_index(self, tmp_path: Path) -> None:
        artifact = open_artifact(str(self.shards(tmp_path)))
        parts = artifact.read_weights(artifact.files["safetensors"])
        assert [name for name, _ in parts] == [INDEX, "shard-1", "shard-2"]

    def test_the_checksum_covers_every_shard(self, tmp_path: Path) -> None:
        before, after = (open_artifact(str(self.shards(tmp_path))) for _ in range(2))
        file = before.files["safetensors"]
        checksum = before.checksum(file)
        (tmp_path / "shard-2").write_text("c")
        assert after.checksum(file) != checksum

    def test_the_error_names_a_missing_shard(self, tmp_path: Path) -> None:
        artifact = open_artifact(str(self.shards(tmp_path)))
        (tmp_path / "shard-2").unlink()
        with pytest.raises(ArtifactError, match=r"no shard-2, which model\.safetensors\.index\.json lists"):
            artifact.verify(artifact.files["safetensors"])

    @pytest.mark.parametrize("index", ["{}", '{"weight_map": {"x": "../other"}}', '{"weight_map": {"x": 7}}'])
    def test_an_index_must_name_files_of_its_folder(self, tmp_path: Path, index: str) -> None:
        make(tmp_path, None, **{INDEX: index})
        artifact = open_artifact(str(tmp_path))
        with pytest.raises(ArtifactError, match="weight_map must name the shard of each weight"):
            artifact.verify(artifact.files["safetensors"])

    def test_shards_are_downloaded_from_the_hub(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        patterns: list[str] = []

        def snapshot_download(name: str, **options: list[str]) -> str:
            patterns.extend(options["allow_patterns"])
            return str(tmp_path)

        monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
        with pytest.raises(ArtifactError, match=r"no config\.json"):
            open_artifact("a/b")
        wanted = [
            "model.safetensors.index.json", "model-00001-of-00002.safetensors", "pytorch_model-00001-of-00002.bin",
            "onnx/model.onnx_data", "added_tokens.json", "vocab.txt", "model.sig", "golden.jsonl",
        ]  # fmt: skip
        unwanted = ["tf_model.h5", "onnx/model_fp16.onnx_data", "README.md"]
        assert list(filter_repo_objects([*wanted, *unwanted], allow_patterns=patterns)) == wanted
