"""Quantise a float32 ONNX graph to int8."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnxruntime.quantization.shape_inference import quant_pre_process

from onnx_export.calibrate import Array, Range, best_range

_MICROSOFT = "com.microsoft"
_PARTS = 4  # number of parts of a product's inputs, each with its own scale
_PLAIN_GEMM = {"alpha": 1.0, "beta": 1.0, "transA": 0}
_LARGE_GEMM = 64  # outputs
_OUTLIER = 8  # times the root mean square of a column
_LARGE = 500  # minimum number of rows of a table to quantise: word pieces and positions


def simplify(source: Path, target: Path) -> None:
    """Write a copy of the float32 graph at `source` with inferred shapes, as `quantize` needs it.

    A large `Gemm`, such as the pooler of BERT, becomes a product and the addition of a bias. That of the labels stays
    in float32: it takes no time, and its precision counts.
    """
    quant_pre_process(source, target, skip_symbolic_shape=True, skip_optimization=True)
    model = onnx.load(target)
    weights = {weight.name: weight for weight in model.graph.initializer}
    for place, node in reversed(list(enumerate(model.graph.node))):
        settings = {each.name: helper.get_attribute_value(each) for each in node.attribute}
        transposed = settings.pop("transB", 0)
        is_plain = all(settings.get(name, default) == default for name, default in _PLAIN_GEMM.items())
        if node.op_type != "Gemm" or not is_plain or len(node.input) != 3 or node.input[1] not in weights:
            continue
        weight = numpy_helper.to_array(weights[node.input[1]])
        weight = weight.T if transposed else weight
        if weight.shape[1] < _LARGE_GEMM:
            continue
        name, product = f"{node.name}_weight", f"{node.output[0]}_product"
        model.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(weight), name))
        model.graph.node.remove(node)
        sum_ = helper.make_node("Add", [product, node.input[2]], node.output, f"{node.name}_sum")
        model.graph.node.insert(place, sum_)
        model.graph.node.insert(place, helper.make_node("MatMul", [node.input[0], name], [product], node.name))
    onnx.save(model, target)


def products(source: Path) -> list[str]:
    """Return the names of the tensors that are multiplied by constant weights."""
    graph = onnx.load(source).graph
    return sorted({node.input[0] for node in _products(graph)})


def down_projections(source: Path) -> list[str]:
    """Return the names of matrix products with fewer outputs than inputs, in the order of the graph.

    In a transformer these are the second products of the feed-forward blocks. Their inputs come from the activation
    function and have outliers, so one scale per tensor leaves little precision for the other values.
    """
    graph = onnx.load(source).graph
    shapes = {weight.name: weight.dims for weight in graph.initializer}
    return [node.name for node in _products(graph) if shapes[node.input[1]][0] > shapes[node.input[1]][1]]


def quantize(source: Path, target: Path, activations: Mapping[str, Array], in_parts: Sequence[str]) -> None:
    """Write an int8 copy of the simplified graph at `source`.

    Weights have one scale per channel. Activations have one scale per tensor, which fits `activations`: values of shape
    (tokens, width) for each of the `products`. The products in `in_parts` become sums of four products, each of a
    quarter of the inputs with its own scale, so that an outlier only affects the precision of its quarter. Embeddings
    have one scale per row and one per column.
    """
    model = onnx.load(source)
    _quantize_tables(model.graph)
    values = dict(activations)
    for name in in_parts:
        values |= _split(model.graph, name, values)
    _quantize_products(model.graph, values)
    if all(opset.domain != _MICROSOFT for opset in model.opset_import):
        model.opset_import.append(helper.make_opsetid(_MICROSOFT, 1))
    del model.graph.value_info[:]
    onnx.save(model, target)


def _products(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    matrices = {weight.name for weight in graph.initializer if len(weight.dims) == 2}
    return [node for node in graph.node if node.op_type == "MatMul" and node.input[1] in matrices]


def _quantize_products(graph: onnx.GraphProto, values: Mapping[str, Array]) -> None:
    """Replace each product, and the addition of a bias after it, by one product of integers with a fixed scale."""
    constants = {weight.name: numpy_helper.to_array(weight) for weight in graph.initializer}
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    replaced = {node.output[0]: node for node in _products(graph) if node.input[0] in values}
    weights_of: dict[str, list[str]] = {}
    for node in replaced.values():
        weights_of.setdefault(node.input[0], []).append(node.input[1])
    ranges = {
        tensor: best_range(values[tensor], np.hstack([constants[name] for name in names]))
        for tensor, names in weights_of.items()
    }
    nodes: list[onnx.NodeProto] = []
    added: dict[str, Any] = {}
    fused: set[str] = set()
    for node in graph.node:
        if node.output[0] not in replaced:
            if node.output[0] not in fused:
                nodes.append(node)
            continue
        tensor, name = node.input
        if f"{tensor}_scale" not in added:
            nodes.append(_quantize_linear(tensor, ranges[tensor], added))
        scale = np.abs(constants[name]).max(axis=0) / 127
        scale[scale == 0] = 1
        rounded = np.rint(constants[name] / scale).astype(np.int8)
        added |= {f"{name}_int8": rounded, f"{name}_scale": scale, f"{name}_zero_point": np.int8(0)}
        # With the fixed range, the mean error of the product is known. The bias makes up for it.
        bias = values[tensor] @ constants[name] - ranges[tensor].round(values[tensor]) @ (rounded * scale)
        bias, output = bias.mean(axis=0), node.output[0]
        if addition := _addition_of_bias(readers.get(output, []), output, constants, len(bias)):
            sum_, bias_name = addition
            bias, output = bias + constants[bias_name], sum_
            fused.add(sum_)
        added[f"{node.name}_bias"] = bias
        operands = [f"{tensor}_int8", f"{name}_int8", f"{tensor}_scale", f"{name}_scale"]
        # ONNX Runtime makes the weights unsigned on processors without VNNI, and shifts their zero point.
        operands += [f"{tensor}_zero_point", f"{name}_zero_point", f"{node.name}_bias"]
        nodes.append(helper.make_node("MatMulIntegerToFloat", operands, [output], node.name, domain=_MICROSOFT))
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.extend(numpy_helper.from_array(np.asarray(array), name) for name, array in added.items())
    read = {name for node in nodes for name in node.input}
    for weight in [weight for weight in graph.initializer if weight.name not in read]:
        graph.initializer.remove(weight)


def _quantize_linear(tensor: str, fixed: Range, added: dict[str, Any]) -> onnx.NodeProto:
    added |= {f"{tensor}_scale": np.float32(fixed.scale), f"{tensor}_zero_point": np.uint8(fixed.zero_point)}
    inputs = [tensor, f"{tensor}_scale", f"{tensor}_zero_point"]
    return helper.make_node("QuantizeLinear", inputs, [f"{tensor}_int8"], f"{tensor}_int8")


def _addition_of_bias(
    readers: Sequence[onnx.NodeProto], product: str, constants: Mapping[str, Any], width: int
) -> tuple[str, str] | None:
    """Return the sum of a product and a bias, and the name of the bias, if nothing else reads the product."""
    if len(readers) != 1 or readers[0].op_type != "Add":
        return None
    others = [name for name in readers[0].input if name != product]
    if len(others) != 1 or others[0] not in constants or constants[others[0]].shape != (width,):
        return None
    return readers[0].output[0], others[0]


def _split(graph: onnx.GraphProto, name: str, values: Mapping[str, Array]) -> dict[str, Array]:
    """Replace a product by the sum of the products of its parts. Return the values of the parts."""
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
    return dict(zip(inputs, np.array_split(values[activations], _PARTS, axis=1), strict=True))


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
