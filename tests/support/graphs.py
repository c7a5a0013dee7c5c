"""Small ONNX graphs of classifiers, as exporters other than ours may write them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

VOCABULARY = 15  # that of tests/support/checkpoints.py


def graph(
    file: Path,
    *,
    inputs: Sequence[str] = ("input_ids", "attention_mask"),
    outputs: Sequence[str] = ("logits",),
    kind: int = TensorProto.INT64,
    labels: int = 2,
    positions: int = 1000,
    first_position: int = 0,
    softmax: bool = False,
) -> Path:
    """Write a graph whose logits are the sums of a table's rows for the tokens and of another's for their positions.

    Positions count from `first_position`. Other outputs than the last have three dimensions. Inputs of other names than
    the usual ones are read and have no effect.
    """
    ids, mask = (name if name in inputs else f"no_{name}" for name in ("input_ids", "attention_mask"))
    random = np.random.default_rng(0)
    tables = {
        "words": random.normal(size=(VOCABULARY, labels)),
        "places": random.normal(size=(positions, labels)) / 10,
    }
    constants = [numpy_helper.from_array(table.astype(np.float32), name) for name, table in tables.items()]
    constants += [
        numpy_helper.from_array(np.array(value, dtype=np.int64), name)
        for name, value in {"axis": 1, "axes": [1], "last": [2], "offset": first_position - 1}.items()
    ]
    # Without one of the two inputs, the other takes its place.
    source, counted = (ids if ids in inputs else inputs[0]), (mask if mask in inputs else inputs[0])
    nodes = [
        helper.make_node("Cast", [source], ["tokens_in"], to=TensorProto.INT64),
        helper.make_node("Cast", [counted], ["mask_in"], to=TensorProto.INT64),
        helper.make_node("Cast", [counted], ["weights"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["weights", "last"], ["column"]),
        helper.make_node("CumSum", ["mask_in", "axis"], ["count"]),
        helper.make_node("Add", ["count", "offset"], ["place"]),
        helper.make_node("Gather", ["words", "tokens_in"], ["word_rows"]),
        helper.make_node("Gather", ["places", "place"], ["place_rows"]),
        helper.make_node("Add", ["word_rows", "place_rows"], ["rows"]),
        helper.make_node("Mul", ["rows", "column"], ["weighted"]),
        helper.make_node("ReduceSum", ["weighted", "axes"], ["sums"], keepdims=0),
        helper.make_node("Softmax" if softmax else "Identity", ["sums"], [outputs[-1]]),
    ]
    nodes += [helper.make_node("Identity", ["weighted"], [name]) for name in outputs[:-1]]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    starts = [helper.make_tensor_value_info(name, kind, ["texts", "tokens"]) for name in inputs]
    built = helper.make_graph(nodes, "classifier", starts, ends, constants)
    model = helper.make_model(built, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, file)
    return file
