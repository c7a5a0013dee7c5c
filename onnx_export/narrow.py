"""Limit the last layer to the first token, which is the only one that the classifier reads."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

# Operations whose result for a token depends only on the input for that token.
_TOKEN_BY_TOKEN = frozenset(
    {"LayerNormalization", "Add", "Sub", "Mul", "Div", "Pow", "Sqrt", "Erf", "Tanh", "Relu", "Gelu", "FastGelu"}
)
_MASKS_OF_PAIRS = 5  # from this input of an attention on, masks can differ for each query token
_INDEX = "index_of_the_first_token"


def narrow(source: Path, target: Path) -> None:
    """Write a copy of the float32 graph at `source` that computes only what its classifier reads.

    The classifiers of DistilBERT, BERT and RoBERTa read only the first token. In the last layer, the other tokens are
    therefore needed as keys and values of the attention, and nothing else is computed for them. The logits are the
    same, and five sixths of that layer's matrix products are saved.

    A graph with another classifier does not change. Neither does one with subgraphs, which can read any tensor of the
    outer graph. Shapes are not checked: in an unusual graph, a `Gather` may take the first element of something else.
    The result may then not load or be wrong, so the caller must compare the logits.
    """
    model = onnx.load(source)
    graph = model.graph
    if has_subgraphs(graph):
        onnx.save(model, target)
        return
    makers = {name: node for node in graph.node for name in node.output}
    constants = constants_of(graph)
    for pick in [node for node in graph.node if _picks_first(node, makers, constants)]:
        nodes = _nodes_for_first_token(pick, graph, constants)
        inside = {name for node, _ in nodes for name in node.output}
        for node, places in nodes:
            for place in places:
                if node.input[place] not in inside:
                    node.input[place] = _first_of(node.input[place], graph)
    del graph.value_info[:]  # the shapes have changed
    onnx.save(model, target)


def has_subgraphs(graph: GraphProto) -> bool:
    """Return whether any node has a subgraph, which can read any tensor of the outer graph."""
    return any(attribute.HasField("g") or attribute.graphs for node in graph.node for attribute in node.attribute)


def constants_of(graph: GraphProto) -> dict[str, TensorProto]:
    """Return the constants of the graph by name."""
    constants = {weight.name: weight for weight in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            constants[node.output[0]] = node.attribute[0].t
        # Equal weights are stored once, and `Identity` nodes give them further names.
        if node.op_type == "Identity" and node.input[0] in constants:
            constants[node.output[0]] = constants[node.input[0]]
    return constants


def takes_first_token(node: NodeProto, constants: Mapping[str, TensorProto], rank: int) -> bool:
    """Return whether a node takes the first token; with an index of rank 1 it keeps the dimension of the tokens."""
    axis = [attribute.i for attribute in node.attribute if attribute.name == "axis"]
    if node.op_type != "Gather" or axis != [1] or node.input[1] not in constants:
        return False
    index = numpy_helper.to_array(constants[node.input[1]])
    return index.ndim == rank and index.size == 1 and not index.any()


def _picks_first(node: NodeProto, makers: Mapping[str, NodeProto], constants: Mapping[str, TensorProto]) -> bool:
    """Return whether a node takes the first token, from (texts, tokens, width) to (texts, width)."""
    return takes_first_token(node, constants, rank=0) and node.input[0] in makers


def _nodes_for_first_token(
    pick: NodeProto, graph: GraphProto, constants: Mapping[str, TensorProto]
) -> list[tuple[NodeProto, list[int]]]:
    """Return the nodes before `pick` that work token by token and whose results are only used by `pick`.

    With each node come the positions of its inputs that have a dimension of tokens.
    """
    readers = Counter(name for node in graph.node for name in node.input)
    readers.update(output.name for output in graph.output)
    needed = Counter([pick.input[0]])
    nodes: list[tuple[NodeProto, list[int]]] = []
    for node in reversed(graph.node):  # nodes that read a result come after it
        result = node.output[0]
        if needed[result] and needed[result] == readers[result] and (places := _places(node, constants)):
            nodes.append((node, places))
            needed.update(node.input[place] for place in places)
    return nodes


def _places(node: NodeProto, constants: Mapping[str, TensorProto]) -> list[int]:
    """Return the inputs of which a node needs only one token for the result of that token, if it is such a node."""
    given = [place for place, name in enumerate(node.input) if name]
    if node.op_type == "MultiHeadAttention":  # only the query is per token; keys and values are all tokens
        return [0] if max(given) < _MASKS_OF_PAIRS else []
    fixed = {place: len(constants[node.input[place]].dims) for place in given if node.input[place] in constants}
    if node.op_type == "MatMul":
        return [0] if fixed == {1: 2} else []
    per_token = node.op_type in _TOKEN_BY_TOKEN and all(rank < 2 for rank in fixed.values())
    return [place for place in given if place not in fixed] if per_token else []


def _first_of(name: str, graph: GraphProto) -> str:
    """Add a node for the first token of a tensor, of shape (texts, 1, width), and return its name."""
    first = f"{name}_first"
    if not any(first in node.output for node in graph.node):
        if not any(weight.name == _INDEX for weight in graph.initializer):
            graph.initializer.append(numpy_helper.from_array(np.zeros(1, np.int64), _INDEX))
        place = next((place + 1 for place, node in enumerate(graph.node) if name in node.output), 0)
        graph.node.insert(place, helper.make_node("Gather", [name, _INDEX], [first], first, axis=1))
    return first
