"""A graph that reads several texts in one row, so that a batch of unlike lengths needs no padding."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from app.inference.packing import PACKS
from onnx_export.attention import biased, is_known, standard, take_opset
from onnx_export.narrow import constants_of, has_graphs_inside, takes_first

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
    """Write a copy of the narrowed graph at `source` that reads rows of several texts, and says so in its metadata.

    Returns whether it could; where not, nothing is written.

    The mask says which: 0 is padding, k the k-th text of its row. A mask of ones with zeros behind them, a text a row,
    means what it always has. Tokens attend to those of their own text, positions count from its beginning, and logits
    are those of each text, row by row. Sequences were first packed so for pretraining (Krell et al. 2021,
    arXiv 2107.02027).

    It can where positions follow from the shape of the input alone (DistilBERT, BERT; not RoBERTa), attentions are
    single nodes, and nothing else reads the mask. Shapes are not looked at: whoever asked for it compares the logits.
    """
    model = onnx.load(source)
    graph = model.graph
    positions = _lookups_of_positions(graph)
    attentions = [node for node in graph.node if node.op_type == "MultiHeadAttention"]
    constants = constants_of(graph)
    firsts = [node for node in graph.node if takes_first(node, constants, rank=1)]
    known = all(is_known(node, graph) for node in attentions)
    if has_graphs_inside(graph) or not (positions and attentions and firsts and known):
        return False
    for node in positions:
        node.input[1] = "rows_positions"
    last = (
        min(weight.dims[0] for weight in graph.initializer if weight.name in {node.input[0] for node in positions}) - 1
    )
    graph.initializer.append(numpy_helper.from_array(np.array(last), "rows_last_position"))
    nodes = [*_layout(), *_apart(graph, firsts)]
    take_opset(model)
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in _CONSTANTS.items())
    _drop_unread(graph)
    if [node.output[0] for node in graph.node if _MASK in node.input] != ["rows_text", "rows_shape"]:
        return False
    del graph.value_info[:]  # shapes are others now
    model.metadata_props.add(key=PACKS, value="several")
    onnx.save(model, target)
    return True


def _lookups_of_positions(graph: GraphProto) -> list[NodeProto]:
    """Lookups in a table by what follows from the input's shape; none if one goes by something computed."""
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

    found = [node for node in graph.node if node.op_type == "Gather" and node.input[0] in tables]
    computed = [(node, sources(node.input[1])) for node in found if node.input[1] not in inputs]
    return [] if any("input" in of for _, of in computed) else [node for node, of in computed if of == {"shape"}]


def _layout() -> list[NodeProto]:
    """What the mask says: who belongs together, positions, and where each text begins."""

    def node(kind: str, inputs: list[str], output: str, **attributes: object) -> NodeProto:
        return helper.make_node(kind, inputs, [output], output, **attributes)

    return [
        node("Cast", [_MASK], "rows_text", to=TensorProto.INT32),  # (rows, tokens)
        node("Unsqueeze", ["rows_text", "rows_axis_2"], "rows_asking"),
        node("Unsqueeze", ["rows_text", "rows_axis_1"], "rows_asked"),
        node("Equal", ["rows_asking", "rows_asked"], "rows_own"),  # (rows, tokens, tokens)
        # Padding looks at all of its row. If it saw nothing but itself it would become so unlike a text that int8, with
        # one scale for a whole batch, would be twice as far from float32.
        node("Cast", ["rows_text"], "rows_no_padding", to=TensorProto.BOOL),
        node("Not", ["rows_no_padding"], "rows_padding"),
        node("Unsqueeze", ["rows_padding", "rows_axis_2"], "rows_padding_asks"),
        node("Or", ["rows_own", "rows_padding_asks"], "rows_seen"),
        node("Where", ["rows_seen", "rows_together", "rows_apart"], "rows_scores"),
        node("Unsqueeze", ["rows_scores", "rows_axis_1"], "rows_pairs"),  # for every head
        # The first token of one's own text is the first that belongs to it.
        node("Cast", ["rows_seen"], "rows_seen_float", to=TensorProto.FLOAT),
        node("ArgMax", ["rows_seen_float"], "rows_begin", axis=2, keepdims=0),
        node("Shape", [_MASK], "rows_shape", start=1, end=2),
        node("Squeeze", ["rows_shape"], "rows_width"),
        node("Range", ["rows_0", "rows_width", "rows_1"], "rows_places"),
        node("Sub", ["rows_places", "rows_begin"], "rows_distances"),
        # Those of padding count from the beginning of the row, which may be longer than any text.
        node("Min", ["rows_distances", "rows_last_position"], "rows_positions"),
        # Places of the first tokens: (texts, 2), row and place in it.
        node("Equal", ["rows_places", "rows_begin"], "rows_begins"),
        node("And", ["rows_begins", "rows_no_padding"], "rows_first"),
        node("NonZero", ["rows_first"], "rows_coordinates"),
        node("Transpose", ["rows_coordinates"], "rows_firsts", perm=[1, 0]),
        node("Gather", ["rows_coordinates", "rows_0"], "rows_of_texts"),
        node("GatherND", ["rows_scores", "rows_firsts"], "rows_scores_of_firsts"),  # (texts, tokens)
        node("Unsqueeze", ["rows_scores_of_firsts", "rows_axes_12"], "rows_pairs_of_firsts"),
    ]


def _apart(graph: GraphProto, firsts: Sequence[NodeProto]) -> list[NodeProto]:
    """The graph's own nodes, with attentions that keep texts apart, and the first token of each text, not each row."""
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
            added, inputs = biased(node, graph)
            nodes += added
            asks_first = node.input[0] in narrow
            if asks_first:  # each text asks the row that it is in
                for place in (1, 2):
                    own = f"{inputs[place]}_of_texts"
                    nodes.append(helper.make_node("Gather", [inputs[place], "rows_of_texts"], [own], own, axis=0))
                    inputs[place] = own
            nodes.append(standard(node, inputs, "rows_pairs_of_firsts" if asks_first else "rows_pairs"))
        else:
            nodes.append(node)
        if any(name in narrow for name in node.input):
            narrow.update(node.output)
    return nodes


def _drop_unread(graph: GraphProto) -> None:
    """Remove what nobody reads any more."""
    while True:
        read = {name for node in graph.node for name in node.input} | {output.name for output in graph.output}
        unread = [node for node in graph.node if not any(name in read for name in node.output)]
        if not unread:
            break
        for node in unread:
            graph.node.remove(node)
    for weight in [weight for weight in graph.initializer if weight.name not in read]:
        graph.initializer.remove(weight)
