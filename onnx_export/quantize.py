"""Quantise a float32 ONNX graph to int8."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.shape_inference import quant_pre_process

_PARTS = 4  # number of parts of a product's inputs, each with its own scale
_OUTLIER = 8  # times the root mean square of a column
_LARGE = 500  # minimum number of rows of a table to quantise: word pieces and positions


def down_projections(source: Path) -> list[str]:
    """Return the names of matrix products with fewer outputs than inputs, in the order of the graph.

    In a transformer these are the second products of the feed-forward blocks. Their inputs come from the activation
    function and have outliers, so one scale per tensor leaves little precision for the other values.
    """
    graph = onnx.load(source).graph
    shapes = {weight.name: weight.dims for weight in graph.initializer}
    products = [node for node in graph.node if node.op_type == "MatMul" and node.input[1] in shapes]
    return [node.name for node in products if shapes[node.input[1]][0] > shapes[node.input[1]][1]]


def quantize(source: Path, target: Path, in_parts: list[str]) -> None:
    """Write an int8 copy of the graph at `source`.

    Weights have one scale per channel. Activations have one scale per tensor, computed at run time. The products in
    `in_parts` become sums of four products, each of a quarter of the inputs with its own scale, so that an outlier only
    affects the precision of its quarter. Embeddings have one scale per row and one per column.
    """
    prepared = target.with_suffix(".prepared.onnx")
    quant_pre_process(source, prepared, skip_symbolic_shape=True)
    model = onnx.load(prepared)
    _quantize_tables(model.graph)
    present = {node.name for node in model.graph.node}
    for name in filter(present.__contains__, in_parts):  # a product that has been fused cannot be split
        _split(model.graph, name)
    onnx.save(model, prepared)
    quantize_dynamic(
        prepared,
        target,
        per_channel=True,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=["MatMul"],
        extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},  # types are not inferred after a fused node
    )
    prepared.unlink()


def _split(graph: onnx.GraphProto, name: str) -> None:
    """Replace a product by the sum of the products of its parts."""
    place, product = next((place, node) for place, node in enumerate(graph.node) if node.name == name)
    activations, whole = product.input
    weights = {weight.name: weight for weight in graph.initializer}
    numbers = range(_PARTS)
    if f"{whole}_lengths" not in weights:  # otherwise another product has already split these weights
        parts = np.array_split(numpy_helper.to_array(weights[whole]), _PARTS)
        lengths = np.array([len(part) for part in parts])
        graph.initializer.append(numpy_helper.from_array(lengths, f"{whole}_lengths"))
        graph.initializer.extend(numpy_helper.from_array(parts[number], f"{whole}_{number}") for number in numbers)
    inputs, products = [f"{name}_{number}_input" for number in numbers], [f"{name}_{number}" for number in numbers]
    nodes = [
        helper.make_node("Split", [activations, f"{whole}_lengths"], inputs, f"{name}_split", axis=-1),
        *(helper.make_node("MatMul", [inputs[n], f"{whole}_{n}"], [products[n]], products[n]) for n in numbers),
        helper.make_node("Sum", products, product.output, name),
    ]
    graph.node.remove(product)
    for offset, node in enumerate(nodes):
        graph.node.insert(place + offset, node)
    if not any(whole in node.input for node in graph.node):
        graph.initializer.remove(weights[whole])


def _quantize_tables(graph: onnx.GraphProto) -> None:
    """Replace each lookup in a large float table by a lookup in int8, times a scale per row and a scale per column.

    ONNX Runtime's quantiser uses one scale for the whole table, which depends on its largest values. That alone changed
    the logits on dynasent_r2_dev by 0.037 (root mean square, model 2026.11.0), and a scale per row by 0.008. Encoders
    also have a few columns whose values are several times larger than the others.
    """
    readers = Counter(name for node in graph.node for name in node.input)
    tables = {
        weight.name: weight
        for weight in graph.initializer
        if len(weight.dims) == 2 and weight.dims[0] >= _LARGE and weight.data_type == onnx.TensorProto.FLOAT
    }
    for place, node in reversed(list(enumerate(graph.node))):
        # A table that another node also reads, such as the head of a language model, cannot be replaced.
        if node.op_type != "Gather" or node.input[0] not in tables or readers[node.input[0]] > 1:
            continue
        if any(attribute.name == "axis" and attribute.i != 0 for attribute in node.attribute):
            continue
        name, rows, out = node.input[0], node.input[1], node.output[0]
        table = numpy_helper.to_array(tables[name])
        # Use the largest value, because rows of common tokens are among those with large values in a column. But limit
        # it: a single outlier would cost all other rows their precision.
        typical = np.sqrt((table**2).mean(axis=0, keepdims=True))
        columns = np.minimum(np.abs(table).max(axis=0, keepdims=True), _OUTLIER * typical)
        columns[columns == 0] = 1
        scale = np.abs(table / columns).max(axis=1, keepdims=True) / 127
        scale[scale == 0] = 1
        graph.initializer.extend(
            [
                numpy_helper.from_array(np.rint(table / columns / scale).astype(np.int8), f"{name}_int8"),
                numpy_helper.from_array(scale, f"{name}_scale"),
                numpy_helper.from_array(columns, f"{name}_columns"),
            ]
        )
        graph.initializer.remove(tables[name])
        graph.node.remove(node)
        lookups = [
            helper.make_node("Gather", [f"{name}_int8", rows], [f"{out}_int8"], f"{node.name}_int8"),
            helper.make_node(
                "Cast", [f"{out}_int8"], [f"{out}_float"], f"{node.name}_float", to=onnx.TensorProto.FLOAT
            ),
            helper.make_node("Gather", [f"{name}_scale", rows], [f"{out}_scale"], f"{node.name}_scale"),
            helper.make_node("Mul", [f"{out}_float", f"{out}_scale"], [f"{out}_scaled"], f"{node.name}_scaled"),
            helper.make_node("Mul", [f"{out}_scaled", f"{name}_columns"], [out], node.name),
        ]
        for offset, lookup in enumerate(lookups):
            graph.node.insert(place + offset, lookup)
