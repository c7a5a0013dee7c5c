"""Models from elsewhere: graphs of other exporters, and weights in shards."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto
from safetensors.torch import load_file, save_file

from app.errors import ArtifactError, BackendError
from app.inference.artifact import Artifact
from app.inference.backends.onnx import OnnxBackend
from app.inference.model import load_model
from app.inference.padding import pad
from app.types import Encoding
from tests.support.checkpoints import FAIRSEQ, checkpoint, edit, save_tokenizer
from tests.support.graphs import graph

TEXTS = [Encoding([0, 5, 6, 2], truncated=False), Encoding([0, 7, 2], truncated=False)]


def backend(directory: Path, **options: Any) -> OnnxBackend:
    file = graph(directory / "model.onnx", **options)
    return OnnxBackend(Artifact("x", directory, ("bad", "good"), 16, 1, {"onnx": file}))


class TestGraphs:
    @pytest.mark.parametrize(
        "options",
        [
            {"outputs": ["hidden_states", "logits"]},
            {"outputs": ["output_0"]},
            {"inputs": ["attention_mask", "token_type_ids", "input_ids"]},
            {"kind": TensorProto.INT32},
            {"kind": TensorProto.FLOAT, "outputs": ["attentions", "hidden_states", "logits"]},
        ],
    )
    def test_logits_are_found_whatever_the_graph_is_like(self, tmp_path: Path, options: dict[str, Any]) -> None:
        batch = pad(TEXTS, 1)
        (tmp_path / "plain").mkdir()
        expected = backend(tmp_path / "plain").run(batch)
        logits = backend(tmp_path, **options).run(batch)
        assert logits.dtype == np.float32
        np.testing.assert_allclose(logits, expected, rtol=1e-5)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"softmax": True}, "its output logits has probabilities, .* export the model without the softmax"),
            ({"softmax": True, "outputs": ["scores"]}, "its output scores has probabilities"),
            (
                {"outputs": ["hidden_states", "output"]},
                "none of its outputs is called logits; they are hidden_states, out",
            ),
            ({"inputs": ["input_ids"]}, "it has no input attention_mask; its inputs are input_ids"),
            ({"inputs": ["attention_mask"]}, "it has no input input_ids; its inputs are attention_mask"),
            (
                {"inputs": ["input_ids", "attention_mask", "position_ids"]},
                "it needs the input position_ids; the service only has input_ids, attention_mask, token_type_ids",
            ),
            ({"inputs": ["ids", "mask"]}, "it needs the input ids, mask; the service only has input_ids"),
            (
                {"kind": TensorProto.DOUBLE},
                r"it needs the input input_ids of type tensor\(double\), .*; the service",
            ),
            ({"labels": 3}, r"its output logits has the shape \(3, 3\) for 3 texts; the 2 labels .* need \(3, 2\)"),
            ({"labels": 1}, r"its output logits has the shape \(3, 1\)"),
            ({"outputs": ["logits", "other"]}, r"its output logits has the shape \(3, 4, 2\)"),
            ({"positions": 2}, "ONNX Runtime cannot run it: "),
        ],
    )
    def test_the_error_says_what_is_wrong_with_a_graph(
        self, tmp_path: Path, options: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(BackendError, match=f"model.onnx: {message}"):
            backend(tmp_path, **options)

    def test_a_graph_is_served_with_its_scores(self, tmp_path: Path) -> None:
        save_tokenizer(tmp_path, FAIRSEQ)
        (tmp_path / "config.json").write_text('{"pad_token_id": 1}')
        graph(tmp_path / "model.onnx", outputs=["hidden_states", "logits"], kind=TensorProto.INT32)
        model = load_model(str(tmp_path), device="cpu")
        assert model.info.backend == "onnx"
        (result,) = model.predict(["good film"])
        logits = model.logits(["good film"])[0].astype(np.float64)
        expected = np.exp(logits) / np.exp(logits).sum()
        assert list(result.scores.items()) == [
            ("label_0", pytest.approx(expected[0])),
            ("label_1", pytest.approx(expected[1])),
        ]


class TestShards:
    def write(self, directory: Path) -> str:
        """Write a classifier whose weights are in shards."""
        checkpoint(directory, "bert", pad_token_id=0, shard_size="8KB")
        return str(directory)

    def test_weights_in_shards_are_served_by_torch(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        whole = load_model(str(checkpoint(tmp_path / "whole", "bert", pad_token_id=0)), device="cpu")
        model = load_model(self.write(tmp_path / "shards"), device="cpu")
        assert not (tmp_path / "shards" / "model.safetensors").exists()
        assert model.info.backend == "torch"
        assert model.info.checksum not in (None, whole.info.checksum)
        np.testing.assert_allclose(model.logits(["good film"]), whole.logits(["good film"]), rtol=1e-5)
        assert capsys.readouterr().err == ""  # no progress bar among the lines of the log

    def test_the_error_names_a_shard_that_is_missing(self, tmp_path: Path) -> None:
        directory = self.write(tmp_path)
        next(tmp_path.glob("model-00002-*")).unlink()
        with pytest.raises(ArtifactError, match=r"no model-00002-of-\d+\.safetensors, which model\.safetensors\.index"):
            load_model(directory, backend="torch", device="cpu")


@pytest.mark.parametrize("config", [{}, {"architectures": ...}])
def test_weights_of_another_kind_of_model_are_refused(tmp_path: Path, config: dict[str, Any]) -> None:
    # With a random head and a warning, transformers would serve them.
    checkpoint(tmp_path, "bert", pad_token_id=0)
    edit(tmp_path / "config.json", **config)
    weights = load_file(tmp_path / "model.safetensors")
    save_file(
        {name: weight for name, weight in weights.items() if "classifier" not in name}, tmp_path / "model.safetensors"
    )
    with pytest.raises(BackendError, match=r"the weights are not those of a classifier: no classifier\.bias"):
        load_model(str(tmp_path), device="cpu")


def test_what_transformers_reports_is_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint(tmp_path, "longformer", max_position_embeddings=40, attention_window=[8, 8])
    logging.Logger.warning_once.cache_clear()  # another test may have caused it
    assert load_model(str(tmp_path), backend="torch", device="cpu").predict(["good film"])
    assert "Initializing global attention on CLS token..." in caplog.messages
    assert capsys.readouterr().err == ""


def test_labels_that_are_left_out_are_served(tmp_path: Path) -> None:
    checkpoint(tmp_path, "bert", pad_token_id=0)
    assert '"id2label"' not in (tmp_path / "config.json").read_text()
    assert load_model(str(tmp_path), device="cpu").predict(["good"])[0].scores.keys() == {"label_0", "label_1"}
    edit(tmp_path / "config.json", architectures=["BertForMaskedLM"])
    with pytest.raises(ArtifactError, match="BertForMaskedLM"):
        load_model(str(tmp_path), device="cpu")
