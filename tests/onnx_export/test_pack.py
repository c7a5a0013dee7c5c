"""A packed graph gives each text of a row the same logits as the text alone."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from app.inference.artifact import open_artifact
from app.inference.packing import PACKS, pack, pad
from app.types import Encoding
from onnx_export import pack as packing
from onnx_export.fuse import fuse
from onnx_export.narrow import narrow
from onnx_export.verify import isolates_texts
from tests.support.families import WARNINGS, graph_of, logits, run

pytestmark = WARNINGS


def narrowed(family: str, scratch: Path) -> Path:
    fuse(graph_of(family, scratch), scratch / "fused.onnx")
    narrow(scratch / "fused.onnx", scratch / "narrow.onnx")
    return scratch / "narrow.onnx"


@pytest.mark.parametrize("family", ["distilbert", "bert"])
def test_texts_that_share_a_row_do_not_affect_each_other(family: str, tmp_path: Path) -> None:
    plain, packed = narrowed(family, tmp_path), tmp_path / "packed.onnx"
    assert packing.pack(plain, packed)
    rng = np.random.default_rng(0)
    texts = [Encoding(rng.integers(5, 20_000, length).tolist(), truncated=False) for length in (3, 12, 5, 7, 1, 9)]
    alone = np.concatenate([run(plain, pad([text], 0)) for text in texts])
    for rows in (1, 2, 3, 6):
        batch, places = pack(texts, 0, rows=rows)
        np.testing.assert_allclose(run(packed, batch)[places], alone, atol=1e-4)
    np.testing.assert_allclose(logits(packed), logits(plain), atol=1e-4)  # the normal layout: one text per row
    assert PACKS in ort.InferenceSession(str(packed)).get_modelmeta().custom_metadata_map
    assert PACKS not in ort.InferenceSession(str(plain)).get_modelmeta().custom_metadata_map


def test_padding_in_a_very_long_row_has_a_valid_position(tmp_path: Path) -> None:
    plain, packed = narrowed("distilbert", tmp_path), tmp_path / "packed.onnx"
    assert packing.pack(plain, packed)
    texts = [Encoding([7] * length, truncated=False) for length in (500, 400, 200)]
    batch, places = pack(texts, 0, rows=2)
    assert batch.input_ids.shape == (2, 600)  # there are 512 positions
    alone = np.concatenate([run(plain, pad([text], 0)) for text in texts])
    np.testing.assert_allclose(run(packed, batch)[places], alone, atol=1e-4)


def test_a_graph_with_computed_positions_does_not_change(tmp_path: Path) -> None:
    assert not packing.pack(narrowed("roberta", tmp_path), tmp_path / "packed.onnx")
    assert not (tmp_path / "packed.onnx").exists()


def _pooled(model: onnx.ModelProto) -> None:
    """Add a sum of the mask, as in a model that averages its tokens."""
    model.graph.node.append(onnx.helper.make_node("ReduceSum", ["attention_mask"], ["tokens"]))
    model.graph.output.append(onnx.helper.make_tensor_value_info("tokens", onnx.TensorProto.INT64, None))


def _pairs(model: onnx.ModelProto) -> None:
    attention = next(node for node in model.graph.node if node.op_type == "MultiHeadAttention")
    attention.input.append("something")


def _whole(model: onnx.ModelProto) -> None:
    for node in model.graph.node:
        if node.output[0].endswith("_first"):
            node.op_type = "Identity"
            del node.input[1:], node.attribute[:]


@pytest.mark.parametrize("change", [_pooled, _pairs, _whole])
def test_a_graph_with_other_uses_of_its_mask_does_not_change(
    change: Callable[[onnx.ModelProto], None], tmp_path: Path
) -> None:
    model = onnx.load(narrowed("distilbert", tmp_path))
    change(model)
    onnx.save(model, tmp_path / "changed.onnx")
    assert not packing.pack(tmp_path / "changed.onnx", tmp_path / "packed.onnx")


class TestIsolation:
    TEXTS = ("good", "not good at all", "a very long sentence about nothing", "bad", "it is what it is", "fine " * 40)

    def test_a_packed_graph_isolates_texts(self, tmp_path: Path) -> None:
        plain = narrowed("distilbert", tmp_path)
        beside = tmp_path / "exported"
        assert packing.pack(plain, beside / "packed.onnx")
        assert isolates_texts(beside / "packed.onnx", plain, self.TEXTS)

    def test_a_graph_that_mixes_texts_is_rejected(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        plain = narrowed("distilbert", tmp_path)
        beside = tmp_path / "exported"
        monkeypatch.setattr(packing, "_CONSTANTS", {**packing._CONSTANTS, "rows_apart": np.array(0, np.float32)})
        assert packing.pack(plain, beside / "packed.onnx")
        assert not isolates_texts(beside / "packed.onnx", plain, self.TEXTS)

    def test_too_few_texts_are_not_enough(self, tmp_path: Path) -> None:
        plain = narrowed("distilbert", tmp_path)
        assert packing.pack(plain, tmp_path / "exported" / "packed.onnx")
        assert not isolates_texts(tmp_path / "exported" / "packed.onnx", plain, self.TEXTS[:3])

    def test_a_graph_that_does_not_load_is_rejected(self, tmp_path: Path) -> None:
        plain = narrowed("distilbert", tmp_path)
        (tmp_path / "exported" / "packed.onnx").write_bytes(b"no graph")
        assert not isolates_texts(tmp_path / "exported" / "packed.onnx", plain, self.TEXTS)


def test_the_embedded_model_is_packed() -> None:
    file = open_artifact("sentiment-en").files["int8"]
    session = ort.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    assert PACKS in session.get_modelmeta().custom_metadata_map
