"""An attention of the standard says what ONNX Runtime's own node says."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnx_export.attention import biased, is_known, standard, take_opset

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
    shapes = {"q": ["texts", "asking", width], "k": ["texts", "tokens", width], "v": ["texts", "tokens", width]}
    shapes["scores"] = ["texts", 1, "asking", "tokens"]
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
@pytest.mark.parametrize("asking", [5, 1], ids=["every token asks", "the first one asks"])
@pytest.mark.parametrize("attributes", [{}, {"scale": 0.125}], ids=["the usual scale", "one of its own"])
@pytest.mark.parametrize("width", [64, 48])
def test_both_say_the_same(bias: bool, asking: int, attributes: dict[str, float], width: int, tmp_path: Path) -> None:
    model = model_of(width, bias=bias, **attributes)
    onnx.save(model, tmp_path / "own.onnx")
    take_opset(model)
    added, inputs = biased(model.graph.node[0], model.graph)
    nodes = [*added, standard(model.graph.node[0], inputs, "scores")]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, tmp_path / "standard.onnx")
    assert [node.op_type for node in nodes] == ["Add"] * 3 * bias + ["Attention"]

    rng = np.random.default_rng(0)
    shapes = {"q": (3, asking, width), "k": (3, 5, width), "v": (3, 5, width), "scores": (3, 1, asking, 5)}
    given = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    given["scores"][0, 0, :, 3:] = -1e9
    sessions = [ort.InferenceSession(str(tmp_path / f"{name}.onnx")) for name in ("own", "standard")]
    own, found = (session.run(None, given)[0] for session in sessions)
    np.testing.assert_allclose(found, own, atol=1e-5)


@pytest.mark.parametrize(
    ("inputs", "attributes", "known"),
    [
        pytest.param(["q", "k", "v", "bias", "mask"], {"mask_filter_value": -1e4}, True, id="as an encoder has it"),
        pytest.param(["q", "k", "v", "", "mask"], {}, True, id="without a bias"),
        pytest.param(["q", "k", "v", "bias", "mask"], {"unidirectional": 0}, True, id="with its defaults spelled out"),
        pytest.param(["q", "k", "v", "bias", ""], {}, False, id="without a mask"),
        pytest.param(["q", "k", "v", "bias"], {}, False, id="with no place for a mask"),
        pytest.param(["q", "k", "v", "bias", "mask", "scores"], {}, False, id="with scores of its own"),
        pytest.param(["q", "k", "v", "computed", "mask"], {}, False, id="with a bias that is computed"),
        pytest.param(["q", "k", "v", "bias", "mask"], {"unidirectional": 1}, False, id="of a decoder"),
    ],
)
def test_only_what_an_encoder_has_is_replaced(inputs: list[str], attributes: dict[str, float], known: bool) -> None:
    node = helper.make_node("MultiHeadAttention", inputs, ["y"], num_heads=2, **attributes)
    graph = helper.make_graph([node], "g", [], [], [numpy_helper.from_array(np.zeros(12, np.float32), "bias")])
    assert is_known(node, graph) == known


def test_a_later_opset_stays() -> None:
    model = helper.make_model(helper.make_graph([], "g", [], []), opset_imports=[helper.make_opsetid("", 24)])
    take_opset(model)
    assert [opset.version for opset in model.opset_import] == [24]
