"""Cut a graph into parts that run one after the other, with a head after each part but the last.

A text whose head is sure needs no more parts: see `app/inference/exits.py`. The parts have no large weights of their
own. They refer to places in the file of the whole graph, which stays as it was.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from app.inference.exits import LOGITS, NEXT_STATES, STATES
from app.inference.padding import SKIPS_PADDING
from onnx_export.unpad import drop_unread
from training.errors import InputError

_NORM = "LayerNormalization"
_NORMS_PER_LAYER = 2
_SHARED_BYTES = 1024  # smaller weights are copied into the parts
EPSILON = 1e-5  # of the norm of a head
_FAR = 1e4  # below all states, which are behind a norm

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Head:
    """What turns the states after a layer into logits: a norm, a hidden layer with GELU, and an output layer.

    Its input is the state of the first token, and the mean and the largest values of all: float32 of shape
    (texts, 3 * width). The weights of the hidden layer are `hidden * scale`: int8 of shape (3 * width, units), and one
    number for each unit. `output` has the shape (units, labels). The norm has no weights of its own.
    """

    hidden: NDArray[np.int8]
    scale: Array
    hidden_bias: Array
    output: Array
    output_bias: Array


def layer_ends(model: ModelProto) -> list[str]:
    """Return the tensors with the states after each layer but the last: float32 of shape (tokens, width).

    These are tensors that everything behind them depends on, and nothing else, except for the mask. Raises
    `InputError` if the graph has none, as where layers do not end with a norm, or if it computes padding.
    """
    if SKIPS_PADDING not in {prop.key for prop in model.metadata_props}:
        raise InputError("exits need a graph that skips padding, which the exporter cannot write for this architecture")
    graph = model.graph
    norms = [node.output[0] for node in graph.node if node.op_type == _NORM]
    ends = [name for name in norms if _is_only_way(graph, name)][_NORMS_PER_LAYER:-1:_NORMS_PER_LAYER]
    if not ends:
        raise InputError("exits need layers that each end with a norm, as in BERT, DistilBERT and RoBERTa")
    return ends


def check_layers(model: ModelProto, layers: Sequence[int]) -> list[str]:
    """Return `layer_ends`; raise `InputError` if there can be no exit after one of `layers`, which count from 1."""
    ends = layer_ends(model)
    if wrong := [layer for layer in layers if not 1 <= layer <= len(ends)]:
        raise InputError(f"no exit after layer {wrong[0]}: the model has {len(ends) + 1} layers")
    return ends


def cut(file: Path, exits: Mapping[int, Head]) -> list[ModelProto]:
    """Cut the graph `file` after the layers of `exits`, which count from 1. Raises as `layer_ends` does."""
    content = file.read_bytes()
    model = onnx.load_from_string(content)
    ends = check_layers(model, [*exits])
    logits = model.graph.output[0].name
    parts: list[ModelProto] = []
    source = ""
    for layer, head in [*sorted(exits.items()), (0, None)]:
        target = ends[layer - 1] if head else logits
        parts.append(_part(model, source, target, head))
        source = target
        for weight in parts[-1].graph.initializer:
            _share(weight, content, file.name)
    return parts


def _part(model: ModelProto, source: str, target: str, head: Head | None) -> ModelProto:
    """Return the part from the tensor `source`, or from the inputs if there is none, to the tensor `target`."""
    part = ModelProto()
    part.CopyFrom(model)
    graph = part.graph
    del graph.output[:]
    if source:
        graph.input.append(helper.make_tensor_value_info(STATES, TensorProto.FLOAT, ["tokens", "width"]))
        for node in graph.node:
            node.input[:] = [STATES if each == source else each for each in node.input]
    if head:
        for node in [node for node in graph.node if LOGITS in node.output]:
            graph.node.remove(node)
        graph.node.append(helper.make_node("Identity", [target], [NEXT_STATES]))
        nodes, weights = _head_nodes(head, target)
        graph.node.extend(nodes)
        graph.initializer.extend(weights)
        graph.output.append(helper.make_tensor_value_info(LOGITS, TensorProto.FLOAT, ["texts", "labels"]))
        graph.output.append(helper.make_tensor_value_info(NEXT_STATES, TensorProto.FLOAT, ["tokens", "width"]))
    else:
        graph.output.append(helper.make_tensor_value_info(target, TensorProto.FLOAT, ["texts", "labels"]))
    drop_unread(graph)
    read = {name for node in graph.node for name in node.input}
    for unread in [each for each in graph.input if each.name not in read]:
        graph.input.remove(unread)
    del graph.value_info[:]
    _shorten(graph)
    return part


def _head_nodes(head: Head, states: str) -> tuple[list[NodeProto], list[TensorProto]]:
    """Return the nodes and the weights of a head."""
    constants = {
        **{f"exit_{name}": getattr(head, name) for name in Head.__slots__},
        "exit_axis_1": np.array([1], dtype=np.int64),
        "exit_axis_2": np.array([2], dtype=np.int64),
        "exit_width": np.array([len(head.hidden)], dtype=np.int64),
        "exit_half": np.array(0.5, dtype=np.float32),
        "exit_far": np.array(_FAR, dtype=np.float32),
        "exit_one": np.array(1, dtype=np.float32),
        "exit_root": np.array(0.5**0.5, dtype=np.float32),
    }

    def node(kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> NodeProto:
        return helper.make_node(kind, inputs, [output], output, **attributes)

    nodes = [
        node("Gather", [states, "unpad_index_of_firsts"], "exit_first", axis=0),  # (texts, width)
        node("Gather", [states, "unpad_index"], "exit_padded", axis=0),  # (texts, longest, width)
        node("Cast", ["attention_mask"], "exit_mask", to=TensorProto.FLOAT),
        node("Unsqueeze", ["exit_mask", "exit_axis_2"], "exit_mask_of_states"),
        node("Mul", ["exit_padded", "exit_mask_of_states"], "exit_tokens"),
        node("ReduceSum", ["exit_tokens", "exit_axis_1"], "exit_sum", keepdims=0),
        node("ReduceSum", ["exit_mask", "exit_axis_1"], "exit_lengths", keepdims=1),
        node("Div", ["exit_sum", "exit_lengths"], "exit_mean"),
        node("Sub", ["exit_mask_of_states", "exit_one"], "exit_padding"),  # -1 for padding, 0 for tokens
        node("Mul", ["exit_padding", "exit_far"], "exit_below"),
        node("Add", ["exit_tokens", "exit_below"], "exit_candidates"),
        node("ReduceMax", ["exit_candidates", "exit_axis_1"], "exit_largest", keepdims=0),
        node("Concat", ["exit_first", "exit_mean", "exit_largest"], "exit_pooled", axis=1),
        node("ConstantOfShape", ["exit_width"], "exit_ones", value=helper.make_tensor("", TensorProto.FLOAT, [1], [1])),
        node(_NORM, ["exit_pooled", "exit_ones"], "exit_normed", axis=-1, epsilon=EPSILON),
        node("Cast", ["exit_hidden"], "exit_hidden_float", to=TensorProto.FLOAT),
        node("MatMul", ["exit_normed", "exit_hidden_float"], "exit_product"),
        node("Mul", ["exit_product", "exit_scale"], "exit_scaled"),
        node("Add", ["exit_scaled", "exit_hidden_bias"], "exit_units"),
        node("Mul", ["exit_units", "exit_root"], "exit_rooted"),
        node("Erf", ["exit_rooted"], "exit_erf"),
        node("Add", ["exit_erf", "exit_one"], "exit_gate"),
        node("Mul", ["exit_units", "exit_gate"], "exit_gated"),
        node("Mul", ["exit_gated", "exit_half"], "exit_gelu"),
        node("MatMul", ["exit_gelu", "exit_output"], "exit_logits"),
        node("Add", ["exit_logits", "exit_output_bias"], LOGITS),
    ]
    return nodes, [numpy_helper.from_array(value, name) for name, value in constants.items()]


def _is_only_way(graph: GraphProto, name: str) -> bool:
    """Return whether the outputs depend on the token ids only through the tensor `name`."""
    reached = {node.name for node in graph.input if node.name != "attention_mask"}
    for node in graph.node:  # in an order in which each node is behind what it reads
        if any(each in reached for each in node.input):
            reached.update(each for each in node.output if each != name)
    return not any(output.name in reached for output in graph.output)


def _shorten(graph: GraphProto) -> None:
    """Give everything between the inputs and the outputs short names: long ones are most of a graph without weights."""
    kept = {each.name for each in (*graph.input, *graph.output)} | {""}
    names: dict[str, str] = {}

    def short(name: str) -> str:
        return name if name in kept else names.setdefault(name, f"t{len(names)}")

    for node in graph.node:
        node.name = ""
        node.input[:] = [short(name) for name in node.input]
        node.output[:] = [short(name) for name in node.output]
    for weight in graph.initializer:
        weight.name = short(weight.name)


def _share(weight: TensorProto, content: bytes, name: str) -> None:
    """Have a large weight read from its place in the file `name`, whose bytes are `content`."""
    size = len(weight.raw_data)
    if size < _SHARED_BYTES or (offset := content.find(weight.raw_data)) < 0:
        return
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, value in (("location", name), ("offset", str(offset)), ("length", str(size))):
        weight.external_data.add(key=key, value=value)
