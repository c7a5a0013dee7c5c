"""What only the first token needs."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

# What comes out for a token depends on nothing but what went in for it.
_TOKEN_BY_TOKEN = frozenset(
    {"LayerNormalization", "Add", "Sub", "Mul", "Div", "Pow", "Sqrt", "Erf", "Tanh", "Relu", "Gelu", "FastGelu"}
)
_MASKS_OF_PAIRS = 5  # from this input of an attention on, masks may differ from token to token
_INDEX = "index_of_the_first_token"


def narrow(source: Path, target: Path) -> None:
    """Write a copy of the float32 graph at `source` that computes nothing that its classifier does not look at.

    It looks at the first token, where DistilBERT, BERT and RoBERTa gather what they have read; so in the last layer the
    other tokens are read, and nothing else is done for them. The logits are the same, for five sixths of that layer's
    products less. A graph that ends otherwise stays as it is, and so does one with graphs inside, which may read what
    they are not given. No shapes are looked at: where a graph that is unlike those gathers the first of something else,
    what comes out may not load, or say something else, and whoever asked for it has to see to that.
    """
    model = onnx.load(source)
    graph = model.graph
    if has_graphs_inside(graph):
        onnx.save(model, target)
        return
    makers = {name: node for node in graph.node for name in node.output}
    constants = constants_of(graph)
    for pick in [node for node in graph.node if _picks_first(node, makers, constants)]:
        behind = _behind(pick, graph, constants)
        inside = {name for node, _ in behind for name in node.output}
        for node, places in behind:
            for place in places:
                if node.input[place] not in inside:
                    node.input[place] = _first_of(node.input[place], graph)
    del graph.value_info[:]  # shapes are others now
    onnx.save(model, target)


def has_graphs_inside(graph: GraphProto) -> bool:
    """Whether nodes have graphs of their own, which may read anything of the one around them."""
    return any(attribute.HasField("g") or attribute.graphs for node in graph.node for attribute in node.attribute)


def constants_of(graph: GraphProto) -> dict[str, TensorProto]:
    """What is in the graph whatever it is asked, by name."""
    constants = {weight.name: weight for weight in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            constants[node.output[0]] = node.attribute[0].t
        # Of weights that are alike the graph has one, under several names.
        if node.op_type == "Identity" and node.input[0] in constants:
            constants[node.output[0]] = constants[node.input[0]]
    return constants


def takes_first(node: NodeProto, constants: Mapping[str, TensorProto], rank: int) -> bool:
    """Whether a node takes the first of the tokens: keeping their dimension, for an index of rank 1, or without."""
    axis = [attribute.i for attribute in node.attribute if attribute.name == "axis"]
    if node.op_type != "Gather" or axis != [1] or node.input[1] not in constants:
        return False
    index = numpy_helper.to_array(constants[node.input[1]])
    return index.ndim == rank and index.size == 1 and not index.any()


def _picks_first(node: NodeProto, makers: Mapping[str, NodeProto], constants: Mapping[str, TensorProto]) -> bool:
    """Whether a node takes the first of the tokens, from (texts, tokens, width) to (texts, width)."""
    return takes_first(node, constants, rank=0) and node.input[0] in makers


def _behind(
    pick: NodeProto, graph: GraphProto, constants: Mapping[str, TensorProto]
) -> list[tuple[NodeProto, list[int]]]:
    """The nodes before `pick` that work token by token, and of whose results nobody but `pick` makes use.

    Beside each stand the places of those of its inputs that have the tokens which its results are of.
    """
    readers = Counter(name for node in graph.node for name in node.input)
    readers.update(output.name for output in graph.output)
    wanted = Counter([pick.input[0]])
    behind: list[tuple[NodeProto, list[int]]] = []
    for node in reversed(graph.node):  # all that read a result come after it
        result = node.output[0]
        if wanted[result] and wanted[result] == readers[result] and (places := _places(node, constants)):
            behind.append((node, places))
            wanted.update(node.input[place] for place in places)
    return behind


def _places(node: NodeProto, constants: Mapping[str, TensorProto]) -> list[int]:
    """The inputs of which a node needs, for the result of a token, only that token; none if it is no such node."""
    given = [place for place, name in enumerate(node.input) if name]
    if node.op_type == "MultiHeadAttention":  # the question is the token's own, what it is put to are all tokens
        return [0] if max(given) < _MASKS_OF_PAIRS else []
    fixed = {place: len(constants[node.input[place]].dims) for place in given if node.input[place] in constants}
    if node.op_type == "MatMul":
        return [0] if fixed == {1: 2} else []
    alike = node.op_type in _TOKEN_BY_TOKEN and all(rank < 2 for rank in fixed.values())
    return [place for place in given if place not in fixed] if alike else []


def _first_of(name: str, graph: GraphProto) -> str:
    """The first token of a tensor, of shape (texts, 1, width), taken where the tensor is made."""
    first = f"{name}_first"
    if not any(first in node.output for node in graph.node):
        if not any(weight.name == _INDEX for weight in graph.initializer):
            graph.initializer.append(numpy_helper.from_array(np.zeros(1, np.int64), _INDEX))
        place = next((place + 1 for place, node in enumerate(graph.node) if name in node.output), 0)
        graph.node.insert(place, helper.make_node("Gather", [name, _INDEX], [first], first, axis=1))
    return first
