"""Quantised tables of embeddings, and products in parts."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from onnx_export.quantize import _quantize_tables, _split


class TestTables:
    """A graph that looks up rows in a table, run by the reference implementation of ONNX."""

    ROWS = np.outer(np.geomspace(0.01, 100, 2500), [1, -0.5, 0.25, 0.1]).astype(np.float32)

    def graph(self, *more: onnx.NodeProto) -> onnx.GraphProto:
        lookup = helper.make_node("Gather", ["table", "ids"], ["result"], "lookup", axis=0)
        ids = helper.make_tensor_value_info("ids", onnx.TensorProto.INT64, [None])
        outputs = [helper.make_tensor_value_info(node.output[0], 1, None) for node in (lookup, *more)]
        return helper.make_graph([lookup, *more], "g", [ids], outputs, [numpy_helper.from_array(self.ROWS, "table")])

    def test_large_and_small_rows_keep_their_precision(self) -> None:
        graph = self.graph()
        _quantize_tables(graph)
        assert {weight.name: weight.data_type for weight in graph.initializer} == {
            "table_int8": onnx.TensorProto.INT8,
            "table_scale": onnx.TensorProto.FLOAT,
            "table_columns": onnx.TensorProto.FLOAT,
        }
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        ids = np.array([0, 2499, 1200, 0])
        (result,) = ReferenceEvaluator(model).run(None, {"ids": ids})
        steps = np.abs(self.ROWS[ids]).max(axis=1, keepdims=True) / 127
        assert (np.abs(result - self.ROWS[ids]) <= 0.51 * steps).all()

    def test_a_table_with_another_reader_does_not_change(self) -> None:
        graph = self.graph(helper.make_node("Transpose", ["table"], ["turned"]))
        _quantize_tables(graph)
        assert [weight.name for weight in graph.initializer] == ["table"]

    @pytest.mark.parametrize("large", [(slice(None), 5), (7, 5)], ids=["column", "value"])
    def test_an_outlier_costs_other_values_little_precision(self, large: tuple[slice | int, int]) -> None:
        self.ROWS = np.random.default_rng(0).normal(size=(2500, 64)).astype(np.float32)
        self.ROWS[large] *= 100
        self.ROWS[:, 6] = 0
        graph = self.graph()
        _quantize_tables(graph)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        ids = np.arange(6).reshape(2, 3)
        (result,) = ReferenceEvaluator(model).run(None, {"ids": ids})
        off = np.abs(result - self.ROWS[ids])
        assert off.shape == (2, 3, 64)
        assert off[..., [each for each in range(64) if each != 5]].max() < 0.03
        assert off[..., 5].max() < 0.1 * np.abs(self.ROWS[ids, 5]).max()


@pytest.mark.parametrize("readers", [1, 2])
def test_a_product_in_parts_has_the_same_result(readers: int) -> None:
    rng = np.random.default_rng(0)
    weights, x = rng.normal(size=(10, 3)).astype(np.float32), rng.normal(size=(2, 5, 10)).astype(np.float32)
    names = [f"y{number}" for number in range(readers)]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "weights"], [name], f"product of {name}") for name in names],
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [2, 5, 10])],
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names],
        [numpy_helper.from_array(weights, "weights")],
    )
    for left, name in reversed(list(enumerate(names))):
        _split(graph, f"product of {name}")
        assert ("weights" in {weight.name for weight in graph.initializer}) == bool(left)
    assert [node.op_type for node in graph.node].count("MatMul") == 4 * readers
    assert sum(np.prod(weight.dims) for weight in graph.initializer if len(weight.dims) == 2) == weights.size
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    for result in ReferenceEvaluator(model).run(None, {"x": x}):
        np.testing.assert_allclose(result, x @ weights, atol=1e-5)
