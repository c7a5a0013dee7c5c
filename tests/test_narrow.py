"""A graph that computes only what its classifier looks at says what the whole graph says."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnx_export.fuse import fuse
from onnx_export.narrow import narrow
from tests.families import FAMILIES, graph_of, logits

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*:torch.jit.TracerWarning"),
    pytest.mark.filterwarnings("ignore:.*:UserWarning"),
]


@pytest.mark.parametrize("family", FAMILIES)
def test_behind_the_last_attention_there_is_the_first_token_alone(family: str, tmp_path: Path) -> None:
    whole, fused, narrowed = graph_of(family, tmp_path), tmp_path / "fused.onnx", tmp_path / "narrow.onnx"
    fuse(whole, fused)
    narrow(fused, narrowed)

    nodes = onnx.load(narrowed).graph.node
    first = {node.output[0] for node in nodes if node.op_type == "Gather" and "_first" in node.output[0]}
    (attention,) = [node for node in nodes if node.op_type == "MultiHeadAttention"][-1:]
    questions, keys = ([node for node in nodes if attention.input[place] in node.output] for place in (0, 1))
    assert len(first) == 1
    assert questions[0].input[0] in first
    assert keys[0].input[0] not in first
    np.testing.assert_allclose(logits(narrowed), logits(fused), atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_graph_without_fused_nodes_says_the_same(family: str, tmp_path: Path) -> None:
    whole, narrowed = graph_of(family, tmp_path), tmp_path / "narrow.onnx"
    narrow(whole, narrowed)
    assert "_first" in str(onnx.load(narrowed).graph)
    np.testing.assert_allclose(logits(narrowed), logits(whole), atol=1e-4)


@pytest.mark.parametrize(
    ("index", "bias", "outputs"),
    [
        (1, (4,), ["y"]),  # another token
        (0, (3, 4), ["y"]),  # something that differs from token to token
        (0, (4,), ["y", "sum"]),  # somebody looks at the whole
    ],
)
def test_what_needs_the_other_tokens_is_left_alone(
    index: int, bias: tuple[int, ...], outputs: list[str], tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("Softmax", ["x"], ["soft"], axis=1),
        helper.make_node("Add", ["soft", "bias"], ["sum"]),
        helper.make_node("Gather", ["sum", "index"], ["y"], axis=1),
    ]
    constants = {"bias": rng.normal(size=bias).astype(np.float32), "index": np.array(index)}
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3, 4])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    whole, narrowed = tmp_path / "whole.onnx", tmp_path / "narrow.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), whole)
    narrow(whole, narrowed)

    assert onnx.load(narrowed).graph.node == onnx.load(whole).graph.node
    x = rng.normal(size=(2, 3, 4)).astype(np.float32)
    before, after = (ort.InferenceSession(str(file)).run(None, {"x": x})[0] for file in (whole, narrowed))
    np.testing.assert_array_equal(after, before)
