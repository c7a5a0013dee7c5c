"""Small classifiers of the common encoder families, as float32 ONNX graphs."""

from pathlib import Path

import numpy as np
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

from app.inference.artifact import open_artifact
from app.inference.backends.onnx import feed
from app.types import Batch, FloatArray
from onnx_export.export import export

FAMILIES = ("distilbert", "bert", "roberta")
LAYERS = 2
VOCABULARY = 23_000  # size of the embedded model's tokenizer, which they share

# Warnings that the export libraries cause about their own code.
WARNINGS = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*:torch.jit.TracerWarning"),
    pytest.mark.filterwarnings("ignore:.*:UserWarning"),
]


def classifier(family: str) -> PreTrainedModel:
    """A classifier with random biases. They are zero in a new one, which would hide a lost bias."""
    model = _new(family)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return model


def _new(family: str) -> PreTrainedModel:
    torch.manual_seed(0)
    size = {"vocab_size": VOCABULARY, "num_labels": 3, "initializer_range": 0.2}
    if family == "distilbert":
        return DistilBertForSequenceClassification(
            DistilBertConfig(dim=48, n_heads=4, n_layers=LAYERS, hidden_dim=96, **size)
        )
    size |= {"hidden_size": 48, "num_attention_heads": 4, "num_hidden_layers": LAYERS, "intermediate_size": 96}
    if family == "bert":
        return BertForSequenceClassification(BertConfig(**size))
    return RobertaForSequenceClassification(RobertaConfig(max_position_embeddings=66, **size))


def graph_of(family: str, scratch: Path) -> Path:
    """Export a classifier, and return its graph."""
    classifier(family).save_pretrained(scratch / "model")
    tokenizer = PreTrainedTokenizerFast.from_pretrained(open_artifact("sentiment-en").directory)
    tokenizer.save_pretrained(scratch / "model")
    export(str(scratch / "model"), scratch / "exported")
    return scratch / "exported" / "model.onnx"


def run(file: Path, batch: Batch) -> FloatArray:
    session = ort.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    output: FloatArray = session.run(None, feed([node.name for node in session.get_inputs()], batch))[0]
    return output


def logits(file: Path) -> FloatArray:
    """The logits of one batch with three texts of different lengths."""
    ids = np.random.default_rng(0).integers(5, VOCABULARY, (3, 12))
    mask = np.ones_like(ids)
    mask[1, 7:] = mask[2, 3:] = 0
    return run(file, Batch(ids, mask))
