"""A float32 ONNX graph to int8."""

from pathlib import Path

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
from onnxruntime.quantization.shape_inference import quant_pre_process

_BLOCK = 128  # weights and activations that share a scale


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
    twice as slow.
    """
    prepared = target.with_suffix(".prepared.onnx")
    quant_pre_process(source, prepared, skip_symbolic_shape=True)
    if blockwise:
        graph = onnx.load(prepared)
        others = [node.name for node in graph.graph.node if node.name not in blockwise]
        quantizer = MatMulNBitsQuantizer(
            graph, bits=8, block_size=_BLOCK, is_symmetric=True, accuracy_level=4, nodes_to_exclude=others
        )
        quantizer.process()
        quantizer.model.save_model_to_file(str(prepared))
    quantize_dynamic(prepared, target, per_channel=True, weight_type=QuantType.QInt8)
    prepared.unlink()
