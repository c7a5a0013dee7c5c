"""Change a graph so that it computes nothing for padding, except in attention."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from app.inference.padding import SKIPS_PADDING
from onnx_export.attention import add_bias, is_supported, raise_opset, standard_attention
from onnx_export.narrow import constants_of, has_subgraphs, takes_first_token

_MASK = "attention_mask"
_NEVER = -1e9  # added to a score before the softmax
_CONSTANTS: Mapping[str, np.ndarray] = {
    "unpad_0": np.array(0),
    "unpad_1": np.array(1),
    "unpad_axis_1": np.array([1]),
    "unpad_axes_12": np.array([1, 2]),
    "unpad_ones": np.array([1, 1]),
    "unpad_all": np.array([-1]),
    "unpad_visible": np.array(0, np.float32),
    "unpad_hidden": np.array(_NEVER, np.float32),
}


def unpad(source: Path, target: Path) -> bool:
    """Write a copy of the narrowed graph at `source` that drops the padding of a batch before its first layer.

    Everything but attention then works on one list of tokens, so that texts of different lengths waste little. Each
    text has attention of its own, over its own tokens from the first place on: what a text's tokens see does not depend
    on the other texts, to the last bit. ModernBERT does the same (Warner et al. 2024, arXiv 2412.13663).

    This works if positions depend only on the shape of the input (DistilBERT and BERT, but not RoBERTa), attentions are
    single nodes, and nothing else reads the mask. Otherwise nothing is written and the result is False. Shapes are not
    checked, so the caller must compare the logits.
    """
    model = onnx.load(source)
    graph = model.graph
    positions = _lookups_of_positions(graph)
    ids = [value.name for value in graph.input if value.name != _MASK]  # also those of token types
    words = [node for node in graph.node if node.op_type == "Gather" and node.input[1] in ids]
    attentions = [node for node in graph.node if node.op_type == "MultiHeadAttention"]
    constants = constants_of(graph)
    firsts = [node for node in graph.node if takes_first_token(node, constants, rank=1)]
    supported = all(is_supported(node, graph) for node in attentions)
    if has_subgraphs(graph) or not (positions and words and attentions and firsts and supported):
        return False
    for node in positions:
        node.input[1] = "unpad_positions"
    for node in words:
        node.input[1] = f"unpad_{node.input[1]}"
    nodes = [*_layout_nodes(ids), *_nodes_without_padding(graph, firsts)]
    raise_opset(model)
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in _CONSTANTS.items())
    drop_unread(graph)
    if [node.output[0] for node in graph.node if _MASK in node.input] != [
        "unpad_is_token",
        "unpad_shape",
        "unpad_longest",
    ]:
        return False
    del graph.value_info[:]  # the shapes have changed
    model.metadata_props.add(key=SKIPS_PADDING, value="yes")
    onnx.save(model, target)
    return True


def _lookups_of_positions(graph: GraphProto) -> list[NodeProto]:
    """Return the lookups whose index depends only on the input's shape, or none if another depends on its values."""
    makers = {name: node for node in graph.node for name in node.output}
    tables = {weight.name for weight in graph.initializer if len(weight.dims) == 2}
    inputs = {value.name for value in graph.input}

    def sources(name: str) -> set[str]:
        if name in inputs:
            return {"input"}
        if name not in makers:
            return set()
        node = makers[name]
        return {"shape"} if node.op_type == "Shape" else set().union(*map(sources, node.input))

    lookups = [node for node in graph.node if node.op_type == "Gather" and node.input[0] in tables]
    computed = [(node, sources(node.input[1])) for node in lookups if node.input[1] not in inputs]
    if any("input" in index for _, index in computed):
        return []
    return [node for node, index in computed if index == {"shape"}]


def _layout_nodes(ids: Sequence[str]) -> list[NodeProto]:
    """Return nodes that derive from the mask where each token is, in the batch and in the list of tokens."""

    def node(kind: str, inputs: list[str], output: str, **attributes: object) -> NodeProto:
        return helper.make_node(kind, inputs, [output], output, **attributes)

    return [
        node("Cast", [_MASK], "unpad_is_token", to=TensorProto.BOOL),  # (texts, longest)
        node("Shape", [_MASK], "unpad_shape"),
        node("NonZero", ["unpad_is_token"], "unpad_coordinates"),  # (2, tokens): text, and place in the text
        node("Transpose", ["unpad_coordinates"], "unpad_places", perm=[1, 0]),
        node("Gather", ["unpad_coordinates", "unpad_1"], "unpad_positions"),  # (tokens)
        *(node("GatherND", [name, "unpad_places"], f"unpad_{name}") for name in ids),  # (tokens)
        # The index in the list of tokens for each place of the batch; that of padding is not used.
        node("Cast", ["unpad_is_token"], "unpad_counted", to=TensorProto.INT64),
        node("Reshape", ["unpad_counted", "unpad_all"], "unpad_counted_flat"),
        node("CumSum", ["unpad_counted_flat", "unpad_0"], "unpad_counts"),
        node("Sub", ["unpad_counts", "unpad_1"], "unpad_counts_from_0"),
        node("Reshape", ["unpad_counts_from_0", "unpad_shape"], "unpad_index"),  # (texts, longest)
        node("Gather", ["unpad_index", "unpad_0"], "unpad_index_of_firsts", axis=1),  # (texts)
        node("Where", ["unpad_is_token", "unpad_visible", "unpad_hidden"], "unpad_scores"),
        node("Unsqueeze", ["unpad_scores", "unpad_axes_12"], "unpad_mask_of_firsts"),  # (texts, 1, 1, longest)
        node("Shape", [_MASK], "unpad_longest", start=1, end=2),
        node("Concat", ["unpad_ones", "unpad_longest", "unpad_axis_1"], "unpad_queries", axis=0),
        node("Expand", ["unpad_mask_of_firsts", "unpad_queries"], "unpad_mask"),  # (texts, 1, longest, longest)
    ]


def _nodes_without_padding(graph: GraphProto, firsts: Sequence[NodeProto]) -> list[NodeProto]:
    """Return the nodes of the graph for a list of tokens, with attention within each text."""
    narrow: set[str] = set()  # of shape (texts, 1, width), not (tokens, width)
    nodes: list[NodeProto] = []
    for node in graph.node:
        result = node.output[0]
        if node in firsts:
            nodes += [
                helper.make_node("Gather", [node.input[0], "unpad_index_of_firsts"], [f"{result}_flat"], axis=0),
                helper.make_node("Unsqueeze", [f"{result}_flat", "unpad_axis_1"], [result], node.name),
            ]
            narrow.add(result)
            continue
        if node.op_type == "MultiHeadAttention":
            added, inputs = add_bias(node, graph)
            nodes += added
            is_first_only = node.input[0] in narrow
            for place in range(1 if is_first_only else 0, 3):
                padded = f"{inputs[place]}_padded"
                nodes.append(helper.make_node("Gather", [inputs[place], "unpad_index"], [padded], padded, axis=0))
                inputs[place] = padded
            attention = standard_attention(node, inputs, "unpad_mask_of_firsts" if is_first_only else "unpad_mask")
            if not is_first_only:
                attention.output[0] = f"{result}_padded"
                unpadded = helper.make_node("GatherND", [f"{result}_padded", "unpad_places"], [result], result)
                nodes += [attention, unpadded]
            else:
                nodes.append(attention)
        else:
            nodes.append(node)
        if any(name in narrow for name in node.input):
            narrow.update(node.output)
    return nodes


def drop_unread(graph: GraphProto) -> None:
    """Remove nodes and weights whose results are not read any more."""
    while True:
        read = {name for node in graph.node for name in node.input} | {output.name for output in graph.output}
        unread = [node for node in graph.node if not any(name in read for name in node.output)]
        if not unread:
            break
        for node in unread:
            graph.node.remove(node)
    for weight in [weight for weight in graph.initializer if weight.name not in read]:
        graph.initializer.remove(weight)
