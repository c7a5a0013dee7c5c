"""Quantised tables of embeddings, and products in parts."""

import platform
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from app.inference.backends.onnx import open_session
from onnx_export.quantize import _quantize_tables, _split, down_projections, products, quantize, simplify


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
        parts = _split(graph, f"product of {name}", {"x": x.reshape(-1, 10)})
        assert np.array_equal(np.hstack([*parts.values()]), x.reshape(-1, 10))
        assert ("weights" in {weight.name for weight in graph.initializer}) == bool(left)
    assert [node.op_type for node in graph.node].count("MatMul") == 4 * readers
    assert sum(np.prod(weight.dims) for weight in graph.initializer if len(weight.dims) == 2) == weights.size
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    for result in ReferenceEvaluator(model).run(None, {"x": x}):
        np.testing.assert_allclose(result, x @ weights, atol=1e-5)


class TestProducts:
    """Two products of the same activation, of which one has a bias, in a float32 graph."""

    X = np.random.default_rng(1).normal(size=(200, 32)).astype(np.float32)
    UP, SIDE = (np.random.default_rng(seed).normal(size=(32, 8)).astype(np.float32) for seed in (2, 3))
    BIAS = np.arange(8, dtype=np.float32)

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        nodes = [
            helper.make_node("MatMul", ["x", "up"], ["product"], "first"),
            helper.make_node("Add", ["bias", "product"], ["y"], "sum"),
            helper.make_node("MatMul", ["x", "side"], ["z"], "second"),
        ]
        weights = {"up": self.UP, "side": self.SIDE, "bias": self.BIAS}
        graph = helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [None, None, 32])],
            [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in ("y", "z")],
            [numpy_helper.from_array(array, name) for name, array in weights.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
        onnx.save(model, tmp_path / "float.onnx")
        return tmp_path / "float.onnx"

    def test_a_product_and_its_bias_become_one_product_of_integers(self, source: Path, tmp_path: Path) -> None:
        assert products(source) == ["x"]
        assert down_projections(source) == ["first", "second"]
        quantize(source, tmp_path / "int8.onnx", {"x": self.X}, [])
        nodes = onnx.load(tmp_path / "int8.onnx").graph.node
        assert [node.op_type for node in nodes] == ["QuantizeLinear", "MatMulIntegerToFloat", "MatMulIntegerToFloat"]
        y, z = open_session(tmp_path / "int8.onnx").run(None, {"x": self.X[None]})
        assert np.abs(y[0] - (self.X @ self.UP + self.BIAS)).std() < 0.01 * (self.X @ self.UP).std()
        assert np.abs(z[0] - self.X @ self.SIDE).std() < 0.01 * (self.X @ self.SIDE).std()

    def test_the_result_for_a_row_does_not_depend_on_other_rows(self, source: Path, tmp_path: Path) -> None:
        quantize(source, tmp_path / "int8.onnx", {"x": self.X}, [])
        session = open_session(tmp_path / "int8.onnx")
        beside_large_ones = np.concatenate([self.X[:1], 100 * self.X[1:]])
        alone, together = (session.run(None, {"x": x[None]})[0][0, 0] for x in (self.X[:1], beside_large_ones))
        assert np.array_equal(alone, together)

    def test_the_bias_makes_up_for_the_mean_error(self, source: Path, tmp_path: Path) -> None:
        shifted = np.abs(self.X) ** 3  # with a long tail, which the range cuts off
        quantize(source, tmp_path / "int8.onnx", {"x": shifted}, [])
        y, _ = open_session(tmp_path / "int8.onnx").run(None, {"x": shifted[None]})
        assert np.abs((y[0] - (shifted @ self.UP + self.BIAS)).mean(axis=0)).max() < 1e-3

    @pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="only x86-64 has such processors")
    def test_weights_become_unsigned_on_processors_without_vnni(self, source: Path, tmp_path: Path) -> None:
        """Products of int8 weights overflow there."""
        quantize(source, tmp_path / "int8.onnx", {"x": self.X}, [])
        options = ort.SessionOptions()
        options.add_session_config_entry("session.x64quantprecision", "1")
        options.optimized_model_filepath = str(tmp_path / "exact.onnx")
        options.log_severity_level = 3  # it warns that the file depends on the processor
        exact = ort.InferenceSession(tmp_path / "int8.onnx", options, providers=["CPUExecutionProvider"])
        for file, suffix, kind in (("int8", "", np.int8), ("exact", "_s8_2_u8", np.uint8)):
            graph = onnx.load(tmp_path / f"{file}.onnx").graph
            products = [node for node in graph.node if node.op_type == "MatMulIntegerToFloat"]
            weights = {weight.name: numpy_helper.to_array(weight).dtype for weight in graph.initializer}
            assert {node.input[1] for node in products} == {f"up_int8{suffix}", f"side_int8{suffix}"}
            assert {weights[node.input[1]] for node in products} == {np.dtype(kind)}
        expected = open_session(tmp_path / "int8.onnx").run(None, {"x": self.X[None]})
        for result, other in zip(exact.run(None, {"x": self.X[None]}), expected, strict=True):
            np.testing.assert_allclose(result, other, rtol=1e-4, atol=1e-4)

    def test_exact_products_are_used_on_processors_without_vnni(
        self, source: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("app.inference.backends.onnx.overflows_in_int8", lambda: True)
        options = open_session(source).get_session_options()
        assert options.get_session_config_entry("session.x64quantprecision") == "1"


def test_only_a_large_gemm_becomes_a_product(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    weights = {"wide": rng.normal(size=(80, 8)), "bias": rng.normal(size=80), "head": rng.normal(size=(80, 3))}
    graph = helper.make_graph(
        [
            helper.make_node("Gemm", ["x", "wide", "bias"], ["h"], "pooler", transB=1),
            helper.make_node("Gemm", ["h", "head", "three"], ["y"], "labels"),
        ],
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [None, 8])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        [
            numpy_helper.from_array(array.astype(np.float32), name)
            for name, array in (weights | {"three": np.ones(3)}).items()
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.save(model, tmp_path / "gemm.onnx")
    simplify(tmp_path / "gemm.onnx", tmp_path / "simple.onnx")
    assert [node.op_type for node in onnx.load(tmp_path / "simple.onnx").graph.node] == ["MatMul", "Add", "Gemm"]
    x = rng.normal(size=(2, 8)).astype(np.float32)
    expected, result = (open_session(tmp_path / f"{name}.onnx").run(None, {"x": x})[0] for name in ("gemm", "simple"))
    np.testing.assert_allclose(result, expected, atol=1e-5)
