"""A narrowed graph gives the same logits as the whole graph."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnx_export.fuse import fuse
from onnx_export.narrow import narrow
from tests.support.families import FAMILIES, WARNINGS, graph_of, logits

pytestmark = WARNINGS


@pytest.mark.parametrize("family", FAMILIES)
def test_the_last_layer_computes_only_the_first_token(family: str, tmp_path: Path) -> None:
    whole, fused, narrowed = graph_of(family, tmp_path), tmp_path / "fused.onnx", tmp_path / "narrow.onnx"
    fuse(whole, fused)
    narrow(fused, narrowed)

    nodes = onnx.load(narrowed).graph.node
    first = {node.output[0] for node in nodes if node.output[0].endswith("_first")}
    attention = [node for node in nodes if node.op_type == "MultiHeadAttention"][-1]
    query, key = (next(node for node in nodes if attention.input[place] in node.output) for place in (0, 1))
    assert len(first) == 1
    assert query.input[0] in first
    assert key.input[0] not in first
    np.testing.assert_allclose(logits(narrowed), logits(fused), atol=1e-4)

    narrow(whole, narrowed)  # without fused operations
    assert any(node.output[0].endswith("_first") for node in onnx.load(narrowed).graph.node)
    np.testing.assert_allclose(logits(narrowed), logits(whole), atol=1e-4)


def node(kind: str, inputs: list[str], output: str, **attributes: object) -> onnx.NodeProto:
    domain = "com.microsoft" if kind == "MultiHeadAttention" else ""
    return helper.make_node(kind, inputs, [output], domain=domain, **attributes)


SUM = [node("Softmax", ["x"], "soft", axis=1), node("Add", ["soft", "bias"], "sum")]
PICK = node("Gather", ["sum", "index"], "y", axis=1)
MASKED = node("MultiHeadAttention", ["x", "x", "x", "", "", "pairs"], "sum", num_heads=2)
PLAIN = node("MultiHeadAttention", ["x", "x", "x"], "sum", num_heads=2)
READER = node("ReduceMax", ["sum"], "most", keepdims=0)


@pytest.mark.parametrize(
    ("nodes", "index", "bias", "outputs", "narrower"),
    [
        pytest.param([*SUM, PICK], 0, (4,), ["y"], True, id="a bias"),
        pytest.param([PLAIN, PICK], 0, (4,), ["y"], True, id="an attention"),
        pytest.param([*SUM, PICK], 1, (4,), ["y"], False, id="another token"),
        pytest.param([*SUM, PICK], 0, (3, 4), ["y"], False, id="a different bias for each token"),
        pytest.param([*SUM, PICK], 0, (4,), ["y", "sum"], False, id="the whole tensor is an output"),
        pytest.param([*SUM, READER, PICK], 0, (4,), ["y", "most"], False, id="another node reads the whole tensor"),
        pytest.param([MASKED, PICK], 0, (4,), ["y"], False, id="a mask of pairs"),
    ],
)
def test_a_graph_is_narrowed_if_other_tokens_are_not_needed(
    nodes: list[onnx.NodeProto],
    index: int,
    bias: tuple[int, ...],
    outputs: list[str],
    narrower: bool,
    tmp_path: Path,
) -> None:
    rng = np.random.default_rng(0)
    constants = {
        "bias": rng.normal(size=bias).astype(np.float32),
        "index": np.array(index),
        "pairs": rng.normal(size=(1, 2, 3, 3)).astype(np.float32),
    }
    used = {name for each in nodes for name in each.input}
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3, 4])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items() if name in used],
    )
    whole, narrowed = tmp_path / "whole.onnx", tmp_path / "narrow.onnx"
    domains = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=domains, ir_version=8), whole)
    narrow(whole, narrowed)

    assert (onnx.load(narrowed).graph.node != onnx.load(whole).graph.node) == narrower
    x = rng.normal(size=(2, 3, 4)).astype(np.float32)
    before, after = (ort.InferenceSession(str(file)).run(None, {"x": x})[0] for file in (whole, narrowed))
    np.testing.assert_allclose(after, before, atol=1e-6)


def test_a_graph_with_subgraphs_does_not_change(tmp_path: Path) -> None:
    inner = helper.make_graph([node("ReduceMax", ["sum"], "most", keepdims=0)], "inner", [], [_float("most")])
    choice = helper.make_node("If", ["yes"], ["z"], then_branch=inner, else_branch=inner)
    graph = helper.make_graph(
        [*SUM, choice, PICK],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3, 4])],
        [_float("y"), _float("z")],
        [
            numpy_helper.from_array(value, name)
            for name, value in {"bias": np.ones(4, np.float32), "index": np.array(0), "yes": np.array(True)}.items()
        ],
    )
    whole, narrowed = tmp_path / "whole.onnx", tmp_path / "narrow.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), whole)
    narrow(whole, narrowed)
    assert onnx.load(narrowed).graph.node == onnx.load(whole).graph.node


def _float(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
