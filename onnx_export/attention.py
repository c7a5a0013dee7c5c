"""Attentions as ONNX itself has them since opset 23.

ONNX Runtime's own node, which its fusion makes, copies questions, keys, values and results into another order and back;
the one of the standard reads and writes them where they lie. A run of the embedded model is 1.07 times as fast for it.
"""

import numpy as np
import onnx
from onnx import GraphProto, NodeProto, helper, numpy_helper

from onnx_export.narrow import constants_of

_OPSET = 23
_BIAS, _KEY_MASK, _SCORES = 3, 4, 5  # inputs of MultiHeadAttention
# What is added where its mask has 0 means nothing to a node without one. Anything else would, unless it is turned off.
_KNOWN = {"num_heads", "scale", "mask_filter_value"}


def is_known(node: NodeProto, graph: GraphProto) -> bool:
    """Whether a MultiHeadAttention has nothing that would be lost: a mask of keys, and a bias of which it is sure."""
    inputs = dict(enumerate(node.input))
    has_bias = not inputs.get(_BIAS) or inputs[_BIAS] in constants_of(graph)
    masked = bool(inputs.get(_KEY_MASK)) and not any(node.input[_SCORES:])
    others = [attribute for attribute in node.attribute if attribute.name not in _KNOWN]
    return masked and has_bias and not any(map(helper.get_attribute_value, others))


def take_opset(model: onnx.ModelProto) -> None:
    """Let a graph have such nodes. What Optimum writes for an encoder, in opset 18, means the same in 23."""
    for opset in model.opset_import:
        if opset.domain == "":
            opset.version = max(opset.version, _OPSET)


def biased(node: NodeProto, graph: GraphProto) -> tuple[list[NodeProto], list[str]]:
    """Nodes that add the bias of a MultiHeadAttention, and the names of its questions, keys and values with it.

    Right behind the products that these come from, ONNX Runtime makes them part of those.
    """
    names, bias = list(node.input[:_BIAS]), node.input[_BIAS]
    nodes: list[NodeProto] = []
    if bias:
        whole = numpy_helper.to_array(constants_of(graph)[bias])
        for place, part in enumerate(np.split(whole, len(names))):
            sum_ = f"{node.name}_{place}_biased"
            graph.initializer.append(numpy_helper.from_array(part, f"{node.name}_{place}_bias"))
            nodes.append(helper.make_node("Add", [names[place], f"{node.name}_{place}_bias"], [sum_], sum_))
            names[place] = sum_
    return nodes, names


def standard(node: NodeProto, inputs: list[str], scores: str) -> NodeProto:
    """What asks, is asked and read by a MultiHeadAttention, `scores` added to its own: (texts, 1, asking, asked)."""
    attributes = {each.name: helper.get_attribute_value(each) for each in node.attribute}
    heads = attributes["num_heads"]
    scale = {"scale": attributes["scale"]} if "scale" in attributes else {}
    return helper.make_node(
        "Attention", [*inputs, scores], node.output, node.name, q_num_heads=heads, kv_num_heads=heads, **scale
    )
