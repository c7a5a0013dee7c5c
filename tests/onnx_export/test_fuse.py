"""Fused graphs, of the families of encoders that people bring, compute what the graphs that they come from compute."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from onnx_export.fuse import fuse
from tests.support.families import FAMILIES, LAYERS, WARNINGS, graph_of, logits

pytestmark = WARNINGS


@pytest.mark.parametrize("family", FAMILIES)
def test_each_layer_has_one_node_for_its_attention_and_says_the_same(family: str, tmp_path: Path) -> None:
    whole, fused = graph_of(family, tmp_path), tmp_path / "fused.onnx"
    fuse(whole, fused)

    kinds = [node.op_type for node in onnx.load(fused).graph.node]
    assert kinds.count("MultiHeadAttention") == kinds.count("FastGelu") == LAYERS
    assert len(kinds) < 0.5 * len(onnx.load(whole).graph.node)
    np.testing.assert_allclose(logits(fused), logits(whole), atol=2e-3)  # GELU by tanh: a wrong fusion is further off
