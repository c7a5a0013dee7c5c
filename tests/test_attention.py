"""An attention of the standard says to the last bit what ONNX Runtime's own node says."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnx_export.attention import standard, take_opset

_HEADS, _WIDTH = 2, 8


def model_of(*, bias: bool, asking: str = "tokens", **attributes: float) -> onnx.ModelProto:
    node = helper.make_node(
        "MultiHeadAttention",
        ["q", "k", "v", "bias" if bias else "", "", "scores"],
        ["y"],
        "attention",
        domain="com.microsoft",
        num_heads=_HEADS,
        **attributes,
    )
    shapes = {"q": ["texts", asking, _WIDTH], "k": ["texts", "tokens", _WIDTH], "v": ["texts", "tokens", _WIDTH]}
    shapes["scores"] = ["texts", 1, asking, "tokens"]
    weights = np.random.default_rng(1).normal(size=3 * _WIDTH).astype(np.float32)
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
@pytest.mark.parametrize("asking", [5, 1], ids=["every token asks", "the first one asks"])
@pytest.mark.parametrize("attributes", [{}, {"scale": 0.125}], ids=["the usual scale", "one of its own"])
def test_both_say_the_same(bias: bool, asking: int, attributes: dict[str, float], tmp_path: Path) -> None:
    model = model_of(bias=bias, asking="asking", **attributes)
    onnx.save(model, tmp_path / "own.onnx")
    take_opset(model)
    nodes = standard(model.graph.node[0], "scores", model.graph)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, tmp_path / "standard.onnx")
    assert [node.op_type for node in nodes] == ["Add"] * 3 * bias + ["Attention"]

    rng = np.random.default_rng(0)
    shapes = {"q": (3, asking, _WIDTH), "k": (3, 5, _WIDTH), "v": (3, 5, _WIDTH), "scores": (3, 1, asking, 5)}
    given = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    given["scores"][0, 0, :, 3:] = -1e9
    sessions = [ort.InferenceSession(str(tmp_path / f"{name}.onnx")) for name in ("own", "standard")]
    own, found = (session.run(None, given)[0] for session in sessions)
    np.testing.assert_array_equal(found, own)


def test_a_later_opset_stays() -> None:
    model = helper.make_model(helper.make_graph([], "g", [], []), opset_imports=[helper.make_opsetid("", 24)])
    take_opset(model)
    assert [opset.version for opset in model.opset_import] == [24]
