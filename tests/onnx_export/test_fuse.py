"""Fused graphs of common encoder families give the same logits as the original graphs."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from onnx_export.fuse import fuse
from tests.support.families import FAMILIES, LAYERS, WARNINGS, graph_of, logits

pytestmark = WARNINGS


@pytest.mark.parametrize("family", FAMILIES)
def test_each_layer_has_one_attention_node_and_the_same_result(family: str, tmp_path: Path) -> None:
    whole, fused = graph_of(family, tmp_path), tmp_path / "fused.onnx"
    fuse(whole, fused)

    kinds = [node.op_type for node in onnx.load(fused).graph.node]
    assert kinds.count("MultiHeadAttention") == kinds.count("FastGelu") == LAYERS
    assert len(kinds) < 0.5 * len(onnx.load(whole).graph.node)
    # GELU by tanh is less exact. A wrong fusion would differ by more.
    np.testing.assert_allclose(logits(fused), logits(whole), atol=2e-3)
