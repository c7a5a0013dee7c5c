"""A float32 ONNX graph to int8."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.shape_inference import quant_pre_process

_PARTS = 4  # of a product's inputs, each with a scale of its own
_FAR = 8  # times the root mean square of a column
_LARGE = 500  # rows from which on a table is worth quantising: the word pieces and the positions


def down_projections(source: Path) -> list[str]:
    """Names of the matrix products that narrow their input, in the order in which the graph runs them.

    In a transformer these are the second halves of the feed-forward blocks. Their inputs, behind the activation
    function, have outliers, and one scale for a whole tensor leaves little precision for the rest.
    """
    graph = onnx.load(source).graph
    shapes = {weight.name: weight.dims for weight in graph.initializer}
    products = [node for node in graph.node if node.op_type == "MatMul" and node.input[1] in shapes]
    return [node.name for node in products if shapes[node.input[1]][0] > shapes[node.input[1]][1]]


def quantize(source: Path, target: Path, in_parts: list[str]) -> None:
    """Write an int8 copy of the graph at `source`: weights per channel, activations with one scale as they come.

    The products named in `in_parts` become sums of four, each of a quarter of the inputs, with scales of its own: an
    outlier costs the others of its quarter their precision, but not all. Embeddings have a scale a row and a scale a
    column.
    """
    prepared = target.with_suffix(".prepared.onnx")
    quant_pre_process(source, prepared, skip_symbolic_shape=True)
    model = onnx.load(prepared)
    _quantize_tables(model.graph)
    present = {node.name for node in model.graph.node}
    for name in filter(present.__contains__, in_parts):  # what is fused by now stays whole
        _split(model.graph, name)
    onnx.save(model, prepared)
    quantize_dynamic(
        prepared,
        target,
        per_channel=True,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=["MatMul"],
        extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},  # types are not inferred past a fused node
    )
    prepared.unlink()


def _split(graph: onnx.GraphProto, name: str) -> None:
    """Make a product the sum of products of its inputs' parts."""
    place, product = next((place, node) for place, node in enumerate(graph.node) if node.name == name)
    activations, whole = product.input
    weights = {weight.name: weight for weight in graph.initializer}
    numbers = range(_PARTS)
    if f"{whole}_lengths" not in weights:  # else another product has them, too
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
    """Replace each lookup in a large float table by one in int8, times a scale of the row's and one of each column's.

    ONNX Runtime's quantiser has one scale for the whole table, which its largest values decide. That alone moved the
    logits on dynasent_r2_dev by 0.037 (root mean square, model 2026.11.0); a scale a row, by 0.008. Encoders have some
    columns, too, whose values are several times those of the others.
    """
    readers = Counter(name for node in graph.node for name in node.input)
    tables = {
        weight.name: weight
        for weight in graph.initializer
        if len(weight.dims) == 2 and weight.dims[0] >= _LARGE and weight.data_type == onnx.TensorProto.FLOAT
    }
    for place, node in reversed(list(enumerate(graph.node))):
        # One that something else reads as well, such as the head of a language model, must stay as it is.
        if node.op_type != "Gather" or node.input[0] not in tables or readers[node.input[0]] > 1:
            continue
        if any(attribute.name == "axis" and attribute.i != 0 for attribute in node.attribute):
            continue
        name, rows, found = node.input[0], node.input[1], node.output[0]
        table = numpy_helper.to_array(tables[name])
        # The largest, because the rows of common tokens are among those that make a column large; but where it is far
        # from all others, it is a single row's, and would cost them their precision.
        typical = np.sqrt((table**2).mean(axis=0, keepdims=True))
        columns = np.minimum(np.abs(table).max(axis=0, keepdims=True), _FAR * typical)
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
            helper.make_node("Gather", [f"{name}_int8", rows], [f"{found}_int8"], f"{node.name}_int8"),
            helper.make_node(
                "Cast", [f"{found}_int8"], [f"{found}_float"], f"{node.name}_float", to=onnx.TensorProto.FLOAT
            ),
            helper.make_node("Gather", [f"{name}_scale", rows], [f"{found}_scale"], f"{node.name}_scale"),
            helper.make_node("Mul", [f"{found}_float", f"{found}_scale"], [f"{found}_scaled"], f"{node.name}_scaled"),
            helper.make_node("Mul", [f"{found}_scaled", f"{name}_columns"], [found], node.name),
        ]
        for offset, lookup in enumerate(lookups):
            graph.node.insert(place + offset, lookup)
