"""Change a graph so that a row can hold several texts, and a batch of different lengths needs no padding."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from app.inference.packing import PACKS
from onnx_export.attention import add_bias, is_supported, raise_opset, standard_attention
from onnx_export.narrow import constants_of, has_subgraphs, takes_first_token

_MASK = "attention_mask"
_NEVER = -1e9  # added to a score before the softmax
_CONSTANTS: Mapping[str, np.ndarray] = {
    "rows_0": np.array(0),
    "rows_1": np.array(1),
    "rows_axis_1": np.array([1]),
    "rows_axis_2": np.array([2]),
    "rows_axes_12": np.array([1, 2]),
    "rows_together": np.array(0, np.float32),
    "rows_apart": np.array(_NEVER, np.float32),
}


def pack(source: Path, target: Path) -> bool:
    """Write a copy of the narrowed graph at `source` that reads rows of several texts; its metadata records this.

    In the mask, 0 is padding and k marks the k-th text of a row, so a mask of ones and zeros keeps its meaning. Tokens
    attend only to their own text, positions start at 0 in each text, and there are logits for each text, row by row.
    Krell et al. (2021, arXiv 2107.02027) packed sequences in this way for pretraining.

    This works if positions depend only on the shape of the input (DistilBERT and BERT, but not RoBERTa), attentions are
    single nodes, and nothing else reads the mask. Otherwise nothing is written and the result is False. Shapes are not
    checked, so the caller must compare the logits.
    """
    model = onnx.load(source)
    graph = model.graph
    positions = _lookups_of_positions(graph)
    attentions = [node for node in graph.node if node.op_type == "MultiHeadAttention"]
    constants = constants_of(graph)
    firsts = [node for node in graph.node if takes_first_token(node, constants, rank=1)]
    supported = all(is_supported(node, graph) for node in attentions)
    if has_subgraphs(graph) or not (positions and attentions and firsts and supported):
        return False
    for node in positions:
        node.input[1] = "rows_positions"
    last = (
        min(weight.dims[0] for weight in graph.initializer if weight.name in {node.input[0] for node in positions}) - 1
    )
    graph.initializer.append(numpy_helper.from_array(np.array(last), "rows_last_position"))
    nodes = [*_layout_nodes(), *_isolating_nodes(graph, firsts)]
    raise_opset(model)
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in _CONSTANTS.items())
    _drop_unread(graph)
    if [node.output[0] for node in graph.node if _MASK in node.input] != ["rows_text", "rows_shape"]:
        return False
    del graph.value_info[:]  # the shapes have changed
    model.metadata_props.add(key=PACKS, value="several")
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


def _layout_nodes() -> list[NodeProto]:
    """Return nodes that derive from the mask: attention scores, positions, and the start of each text."""

    def node(kind: str, inputs: list[str], output: str, **attributes: object) -> NodeProto:
        return helper.make_node(kind, inputs, [output], output, **attributes)

    return [
        node("Cast", [_MASK], "rows_text", to=TensorProto.INT32),  # (rows, tokens)
        node("Unsqueeze", ["rows_text", "rows_axis_2"], "rows_query_text"),
        node("Unsqueeze", ["rows_text", "rows_axis_1"], "rows_key_text"),
        node("Equal", ["rows_query_text", "rows_key_text"], "rows_same_text"),  # (rows, tokens, tokens)
        # Padding attends to its whole row. If it attended only to itself, its activations would be so different from
        # those of texts that int8, with one scale per batch, would have twice the error.
        node("Cast", ["rows_text"], "rows_no_padding", to=TensorProto.BOOL),
        node("Not", ["rows_no_padding"], "rows_padding"),
        node("Unsqueeze", ["rows_padding", "rows_axis_2"], "rows_padding_query"),
        node("Or", ["rows_same_text", "rows_padding_query"], "rows_visible"),
        node("Where", ["rows_visible", "rows_together", "rows_apart"], "rows_scores"),
        node("Unsqueeze", ["rows_scores", "rows_axis_1"], "rows_pairs"),  # for every head
        # The start of a token's text is the first token that it can attend to.
        node("Cast", ["rows_visible"], "rows_visible_float", to=TensorProto.FLOAT),
        node("ArgMax", ["rows_visible_float"], "rows_begin", axis=2, keepdims=0),
        node("Shape", [_MASK], "rows_shape", start=1, end=2),
        node("Squeeze", ["rows_shape"], "rows_width"),
        node("Range", ["rows_0", "rows_width", "rows_1"], "rows_places"),
        node("Sub", ["rows_places", "rows_begin"], "rows_distances"),
        # Positions of padding count from the start of the row, which may be longer than any text.
        node("Min", ["rows_distances", "rows_last_position"], "rows_positions"),
        # Coordinates of the first tokens: (texts, 2), row and place in the row.
        node("Equal", ["rows_places", "rows_begin"], "rows_begins"),
        node("And", ["rows_begins", "rows_no_padding"], "rows_first"),
        node("NonZero", ["rows_first"], "rows_coordinates"),
        node("Transpose", ["rows_coordinates"], "rows_firsts", perm=[1, 0]),
        node("Gather", ["rows_coordinates", "rows_0"], "rows_of_texts"),
        node("GatherND", ["rows_scores", "rows_firsts"], "rows_scores_of_firsts"),  # (texts, tokens)
        node("Unsqueeze", ["rows_scores_of_firsts", "rows_axes_12"], "rows_pairs_of_firsts"),
    ]


def _isolating_nodes(graph: GraphProto, firsts: Sequence[NodeProto]) -> list[NodeProto]:
    """Return the nodes of the graph, with attention within each text, and with the first token of each text."""
    narrow: set[str] = set()  # of shape (texts, 1, width), not (rows, tokens, width)
    nodes: list[NodeProto] = []
    for node in graph.node:
        result = node.output[0]
        if node in firsts:
            nodes += [
                helper.make_node("GatherND", [node.input[0], "rows_firsts"], [f"{result}_flat"], f"{result}_flat"),
                helper.make_node("Unsqueeze", [f"{result}_flat", "rows_axis_1"], [result], node.name),
            ]
            narrow.add(result)
            continue
        if node.op_type == "MultiHeadAttention":
            added, inputs = add_bias(node, graph)
            nodes += added
            is_first_only = node.input[0] in narrow
            if is_first_only:  # each text attends to the row that it is in
                for place in (1, 2):
                    own = f"{inputs[place]}_of_texts"
                    nodes.append(helper.make_node("Gather", [inputs[place], "rows_of_texts"], [own], own, axis=0))
                    inputs[place] = own
            nodes.append(standard_attention(node, inputs, "rows_pairs_of_firsts" if is_first_only else "rows_pairs"))
        else:
            nodes.append(node)
        if any(name in narrow for name in node.input):
            narrow.update(node.output)
    return nodes


def _drop_unread(graph: GraphProto) -> None:
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
