"""Fewer and larger operations for the same computation."""

from pathlib import Path

from onnxruntime.transformers.fusion_options import FusionOptions
from onnxruntime.transformers.optimizer import optimize_model


def fuse(source: Path, target: Path) -> None:
    """Write a copy of the float32 graph at `source` with one node for each attention and each activation function.

    An exporter writes some twenty-five nodes for an attention, and for a lone text of a small model each node costs
    as much as a good part of its arithmetic. What is not recognised stays as it is.
    """
    options = FusionOptions("bert")
    # The quantised tables and products have no part in these; on the first see also app/inference/backends/onnx.py.
    options.enable_skip_layer_norm = options.enable_bias_skip_layer_norm = False
    options.enable_embed_layer_norm = options.enable_bias_gelu = False
    # Its question stays apart from what it is put to, so that only the first token's need be computed: see narrow.py.
    options.use_multi_head_attention = True
    # GELU by tanh (Hendrycks and Gimpel 2016): 5e-4 off at most, for 1.02 times as many texts.
    options.enable_gelu_approximation = True
    fused = optimize_model(str(source), model_type="bert", optimization_options=options, opt_level=0)
    fused.save_model_to_file(str(target))
