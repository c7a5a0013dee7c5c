"""A graph is cut into parts that together give what it gives, and that have no large weights of their own."""

import math
from pathlib import Path

import numpy as np
import onnx
import pytest

from app.inference.backends.onnx import open_session
from app.inference.exits import LOGITS, NEXT_STATES, STATES
from app.inference.padding import pad
from app.types import Encoding
from onnx_export.cut import Head, cut, layer_ends
from tests.support.process import ROOT
from training.errors import InputError

GRAPH = ROOT / "models" / "sentiment-en" / "model_int8.onnx"
WIDTH, UNITS, LABELS = 384, 8, 3


def head(seed: int = 0) -> Head:
    rng = np.random.default_rng(seed)

    def values(*shape: int) -> np.ndarray:
        return rng.normal(scale=0.1, size=shape).astype(np.float32)

    hidden = rng.integers(-127, 128, size=(3 * WIDTH, UNITS)).astype(np.int8)
    return Head(hidden, np.abs(values(UNITS)) / 100, values(UNITS), values(UNITS, LABELS), values(LABELS))


def expected(head: Head, states: np.ndarray) -> np.ndarray:
    """Return the logits of a head for the states of the tokens of one text."""
    pooled = np.concatenate([states[0], states.mean(axis=0), states.max(axis=0)])
    normed = (pooled - pooled.mean()) / np.sqrt(pooled.var() + 1e-5)
    units = normed @ (head.hidden * head.scale) + head.hidden_bias
    gelu = np.array([unit / 2 * (1 + math.erf(unit / 2**0.5)) for unit in units])
    logits: np.ndarray = gelu @ head.output + head.output_bias
    return logits


@pytest.mark.parametrize("layers", [(3,), (2, 4), (1, 2, 5)])
def test_the_parts_together_give_the_logits_of_the_whole_graph(layers: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    texts = [Encoding(rng.integers(5, 20_000, size=size).tolist(), truncated=False) for size in (24, 3, 200, 1, 24)]
    batch = pad(texts, 0)
    inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
    whole = open_session(GRAPH).run(None, inputs)[0]

    heads = {layer: head(layer) for layer in layers}
    parts = cut(GRAPH, heads)
    assert len(parts) == len(layers) + 1
    sessions = [open_session(each.SerializeToString(), external={GRAPH.name: GRAPH.read_bytes()}) for each in parts]
    for number, session in enumerate(sessions[:-1]):
        assert [each.name for each in session.get_outputs()] == [LOGITS, NEXT_STATES]
        logits, states = session.run(None, inputs)
        rows = np.split(states, batch.attention_mask.sum(axis=1).cumsum()[:-1])
        assert [len(each) for each in rows] == [len(text) for text in texts]
        for row, values in zip(rows, logits, strict=True):
            np.testing.assert_allclose(values, expected(heads[layers[number]], row), atol=1e-3)
        inputs = {STATES: states, "attention_mask": batch.attention_mask}
    np.testing.assert_array_equal(sessions[-1].run(None, inputs)[0], whole)


def test_the_parts_have_no_large_weights() -> None:
    parts = cut(GRAPH, {3: head()})
    for part in parts:
        for weight in part.graph.initializer:
            assert len(weight.raw_data) <= 3 * WIDTH * UNITS or weight.data_location == onnx.TensorProto.EXTERNAL
    assert sum(len(part.SerializeToString()) for part in parts) < GRAPH.stat().st_size / 50


def test_a_layer_that_the_model_does_not_have_is_refused() -> None:
    assert len(layer_ends(onnx.load(GRAPH))) == 5
    for layer in (0, 6):
        with pytest.raises(InputError, match=f"no exit after layer {layer}: the model has 6 layers"):
            cut(GRAPH, {layer: head()})


def test_a_graph_that_computes_padding_is_refused(tmp_path: Path) -> None:
    model = onnx.load(GRAPH)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "padded.onnx")
    with pytest.raises(InputError, match="skips padding"):
        cut(tmp_path / "padded.onnx", {3: head()})


def test_a_graph_without_norms_is_refused(tmp_path: Path) -> None:
    model = onnx.load(GRAPH)
    for node in model.graph.node:
        node.op_type = "Other" if node.op_type == "LayerNormalization" else node.op_type
    onnx.save(model, tmp_path / "other.onnx")
    with pytest.raises(InputError, match="each end with a norm"):
        cut(tmp_path / "other.onnx", {3: head()})
