"""Fused graphs, of the families of encoders that people bring, compute what the graphs that they come from compute."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from app.artifact import open_artifact
from app.types import FloatArray
from onnx_export.export import export
from onnx_export.fuse import fuse

LAYERS = 2

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*:torch.jit.TracerWarning"),
    pytest.mark.filterwarnings("ignore:.*:UserWarning"),
]


def classifier(family: str) -> PreTrainedModel:
    torch.manual_seed(0)
    size = {"vocab_size": 500, "num_labels": 3, "initializer_range": 0.2}
    if family == "distilbert":
        return DistilBertForSequenceClassification(
            DistilBertConfig(dim=48, n_heads=4, n_layers=LAYERS, hidden_dim=96, **size)
        )
    size |= {"hidden_size": 48, "num_attention_heads": 4, "num_hidden_layers": LAYERS, "intermediate_size": 96}
    if family == "bert":
        return BertForSequenceClassification(BertConfig(**size))
    return RobertaForSequenceClassification(RobertaConfig(max_position_embeddings=66, **size))


@pytest.mark.parametrize("family", ["distilbert", "bert", "roberta"])
def test_each_layer_has_one_node_for_its_attention_and_says_the_same(family: str, tmp_path: Path) -> None:
    classifier(family).save_pretrained(tmp_path / "model")
    tokenizer = PreTrainedTokenizerFast.from_pretrained(open_artifact("sentiment-en").directory)
    tokenizer.save_pretrained(tmp_path / "model")
    export(str(tmp_path / "model"), tmp_path / "exported")
    whole, fused = tmp_path / "exported" / "model.onnx", tmp_path / "fused.onnx"
    fuse(whole, fused)

    kinds = [node.op_type for node in onnx.load(fused).graph.node]
    assert kinds.count("Attention") == kinds.count("Gelu") == LAYERS
    assert len(kinds) < 0.5 * len(onnx.load(whole).graph.node)
    np.testing.assert_allclose(logits(fused), logits(whole), atol=1e-4)


def logits(file: Path) -> FloatArray:
    """Of three texts of different lengths in one batch."""
    session = ort.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    ids = np.random.default_rng(0).integers(5, 500, (3, 12))
    mask = np.ones_like(ids)
    mask[1, 7:] = mask[2, 3:] = 0
    arrays = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
    found: FloatArray = session.run(None, {node.name: arrays[node.name] for node in session.get_inputs()})[0]
    return found
