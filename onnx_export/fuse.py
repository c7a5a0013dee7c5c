"""Fuse operations into fewer and larger ones."""

from pathlib import Path

from onnxruntime.transformers.fusion_options import FusionOptions
from onnxruntime.transformers.optimizer import optimize_model


def fuse(source: Path, target: Path) -> None:
    """Write a copy of the float32 graph at `source` with one node per attention and per activation function.

    An exporter writes about 25 nodes per attention. For a single text and a small model, the overhead of a node is a
    large part of its cost. Operations that are not recognised do not change.
    """
    options = FusionOptions("bert")
    # These do not work with quantised tables and products. For the first, see also app/inference/backends/onnx.py.
    options.enable_skip_layer_norm = options.enable_bias_skip_layer_norm = False
    options.enable_embed_layer_norm = options.enable_bias_gelu = False
    # Queries are separate from keys and values, so that narrow.py can compute only the query of the first token.
    options.use_multi_head_attention = True
    # GELU by tanh (Hendrycks and Gimpel 2016): an error of at most 5e-4, and 1.02 times the throughput.
    options.enable_gelu_approximation = True
    fused = optimize_model(str(source), model_type="bert", optimization_options=options, opt_level=0)
    fused.save_model_to_file(str(target))
