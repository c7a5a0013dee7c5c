"""A float32 ONNX graph to int8."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
from onnxruntime.quantization.shape_inference import quant_pre_process

_BLOCK = 128  # weights and activations that share a scale
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


def quantize(source: Path, target: Path, blockwise: list[str]) -> None:
    """Write an int8 copy of the graph at `source`: weights per channel, activations with one scale as they come.

    The products named in `blockwise` get a scale for every 128 activations instead: close to float32 and as small, but
    twice as slow. Embeddings have a scale a row.
    """
    prepared = target.with_suffix(".prepared.onnx")
    quant_pre_process(source, prepared, skip_symbolic_shape=True)
    model = onnx.load(prepared)
    _quantize_tables(model.graph)
    if blockwise:
        others = [node.name for node in model.graph.node if node.name not in blockwise]
        quantizer = MatMulNBitsQuantizer(
            model, bits=8, block_size=_BLOCK, is_symmetric=True, accuracy_level=4, nodes_to_exclude=others
        )
        quantizer.process()
        model = quantizer.model.model
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


def _quantize_tables(graph: onnx.GraphProto) -> None:
    """Replace each lookup in a large float table by one in int8, times a scale of the row's own.

    ONNX Runtime's quantiser has one scale for the whole table, which the rows with the largest values decide. That
    alone moved the logits on dynasent_r2_dev by 0.037 (root mean square, model 2026.11.0); a scale a row, by 0.008.
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
        scale = np.abs(table).max(axis=1, keepdims=True) / 127
        scale[scale == 0] = 1
        graph.initializer.extend(
            [
                numpy_helper.from_array(np.rint(table / scale).astype(np.int8), f"{name}_int8"),
                numpy_helper.from_array(scale.astype(np.float32), f"{name}_scale"),
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
            helper.make_node("Mul", [f"{found}_float", f"{found}_scale"], [found], node.name),
        ]
        for offset, lookup in enumerate(lookups):
            graph.node.insert(place + offset, lookup)
