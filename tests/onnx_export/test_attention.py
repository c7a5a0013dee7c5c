"""A standard `Attention` gives the same result as the node of ONNX Runtime that it replaces."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnx_export.attention import add_bias, is_supported, raise_opset, standard_attention

_HEADS = 2


def model_of(width: int, *, bias: bool, **attributes: float) -> onnx.ModelProto:
    node = helper.make_node(
        "MultiHeadAttention",
        ["q", "k", "v", "bias" if bias else "", "", "scores"],
        ["y"],
        "attention",
        domain="com.microsoft",
        num_heads=_HEADS,
        **attributes,
    )
    shapes = {"q": ["texts", "queries", width], "k": ["texts", "tokens", width], "v": ["texts", "tokens", width]}
    shapes["scores"] = ["texts", 1, "queries", "tokens"]
    weights = np.random.default_rng(1).normal(size=3 * width).astype(np.float32)
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weights, "bias")] if bias else [],
    )
    domains = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=domains, ir_version=8)


@pytest.mark.parametrize("bias", [True, False], ids=["with a bias", "without"])
@pytest.mark.parametrize("queries", [5, 1], ids=["all queries", "first query"])
@pytest.mark.parametrize("attributes", [{}, {"scale": 0.125}], ids=["default scale", "own scale"])
@pytest.mark.parametrize("width", [64, 48])
def test_both_nodes_give_the_same_result(
    bias: bool, queries: int, attributes: dict[str, float], width: int, tmp_path: Path
) -> None:
    model = model_of(width, bias=bias, **attributes)
    onnx.save(model, tmp_path / "own.onnx")
    raise_opset(model)
    added, inputs = add_bias(model.graph.node[0], model.graph)
    nodes = [*added, standard_attention(model.graph.node[0], inputs, "scores")]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, tmp_path / "standard.onnx")
    assert [node.op_type for node in nodes] == ["Add"] * 3 * bias + ["Attention"]

    rng = np.random.default_rng(0)
    shapes = {"q": (3, queries, width), "k": (3, 5, width), "v": (3, 5, width), "scores": (3, 1, queries, 5)}
    given = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    given["scores"][0, 0, :, 3:] = -1e9
    sessions = [ort.InferenceSession(str(tmp_path / f"{name}.onnx")) for name in ("own", "standard")]
    own, replaced = (session.run(None, given)[0] for session in sessions)
    np.testing.assert_allclose(replaced, own, atol=1e-5)


@pytest.mark.parametrize(
    ("inputs", "attributes", "supported"),
    [
        pytest.param(["q", "k", "v", "bias", "mask"], {"mask_filter_value": -1e4}, True, id="encoder"),
        pytest.param(["q", "k", "v", "", "mask"], {}, True, id="without a bias"),
        pytest.param(["q", "k", "v", "bias", "mask"], {"unidirectional": 0}, True, id="explicit defaults"),
        pytest.param(["q", "k", "v", "bias", ""], {}, False, id="without a mask"),
        pytest.param(["q", "k", "v", "bias"], {}, False, id="without a mask input"),
        pytest.param(["q", "k", "v", "bias", "mask", "scores"], {}, False, id="with scores"),
        pytest.param(["q", "k", "v", "computed", "mask"], {}, False, id="with a computed bias"),
        pytest.param(["q", "k", "v", "bias", "mask"], {"unidirectional": 1}, False, id="decoder"),
    ],
)
def test_only_attentions_of_an_encoder_are_replaced(
    inputs: list[str], attributes: dict[str, float], supported: bool
) -> None:
    node = helper.make_node("MultiHeadAttention", inputs, ["y"], num_heads=2, **attributes)
    graph = helper.make_graph([node], "g", [], [], [numpy_helper.from_array(np.zeros(12, np.float32), "bias")])
    assert is_supported(node, graph) == supported


def test_a_later_opset_is_kept() -> None:
    model = helper.make_model(helper.make_graph([], "g", [], []), opset_imports=[helper.make_opsetid("", 24)])
    raise_opset(model)
    assert [opset.version for opset in model.opset_import] == [24]
