"""A graph without padding gives each text the same logits, alone and in a batch."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from app.inference.artifact import open_artifact
from app.inference.padding import SKIPS_PADDING, pad
from app.types import Encoding
from onnx_export import unpad as unpadding
from onnx_export.fuse import fuse
from onnx_export.narrow import narrow
from onnx_export.unpad import unpad
from onnx_export.verify import same_logits
from tests.support.families import WARNINGS, graph_of, run

pytestmark = WARNINGS


def narrowed(family: str, scratch: Path) -> Path:
    fuse(graph_of(family, scratch), scratch / "fused.onnx")
    narrow(scratch / "fused.onnx", scratch / "narrow.onnx")
    return scratch / "narrow.onnx"


def texts_of(*lengths: int) -> list[Encoding]:
    rng = np.random.default_rng(0)
    return [Encoding(rng.integers(5, 20_000, length).tolist(), truncated=False) for length in lengths]


@pytest.mark.parametrize("family", ["distilbert", "bert"])
def test_a_batch_has_the_logits_of_its_texts_alone(family: str, tmp_path: Path) -> None:
    plain, unpadded = narrowed(family, tmp_path), tmp_path / "unpadded.onnx"
    assert unpad(plain, unpadded)
    texts = texts_of(3, 12, 5, 500, 1, 9)
    alone = np.concatenate([run(plain, pad([text], 0)) for text in texts])
    np.testing.assert_allclose(run(unpadded, pad(texts, 0)), alone, atol=1e-4)
    assert SKIPS_PADDING in ort.InferenceSession(str(unpadded)).get_modelmeta().custom_metadata_map
    assert SKIPS_PADDING not in ort.InferenceSession(str(plain)).get_modelmeta().custom_metadata_map


def test_other_texts_do_not_change_the_last_bit(tmp_path: Path) -> None:
    unpadded = tmp_path / "unpadded.onnx"
    assert unpad(narrowed("distilbert", tmp_path), unpadded)
    texts = texts_of(30, 12, 65, 127, 1, 9)
    alone = np.concatenate([run(unpadded, pad([text], 0)) for text in texts])
    assert np.array_equal(run(unpadded, pad(texts, 0)), alone)
    assert np.array_equal(run(unpadded, pad(texts[::-1], 0)), alone[::-1])


def test_a_graph_with_computed_positions_does_not_change(tmp_path: Path) -> None:
    assert not unpad(narrowed("roberta", tmp_path), tmp_path / "unpadded.onnx")
    assert not (tmp_path / "unpadded.onnx").exists()


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
    assert not unpad(tmp_path / "changed.onnx", tmp_path / "unpadded.onnx")


class TestSameLogits:
    TEXTS = ("good", "not good at all", "a very long sentence about nothing", "bad", "it is what it is", "fine " * 40)

    def test_a_graph_without_padding_has_the_same_logits(self, tmp_path: Path) -> None:
        plain = narrowed("distilbert", tmp_path)
        beside = tmp_path / "exported"
        assert unpad(plain, beside / "unpadded.onnx")
        assert same_logits(beside / "unpadded.onnx", plain, self.TEXTS)

    def test_a_graph_that_mixes_texts_is_rejected(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        plain = narrowed("distilbert", tmp_path)
        beside = tmp_path / "exported"
        visible = {**unpadding._CONSTANTS, "unpad_hidden": np.array(0, np.float32)}
        monkeypatch.setattr(unpadding, "_CONSTANTS", visible)
        assert unpad(plain, beside / "unpadded.onnx")
        assert not same_logits(beside / "unpadded.onnx", plain, self.TEXTS)

    def test_too_few_texts_are_not_enough(self, tmp_path: Path) -> None:
        plain = narrowed("distilbert", tmp_path)
        assert unpad(plain, tmp_path / "exported" / "unpadded.onnx")
        assert not same_logits(tmp_path / "exported" / "unpadded.onnx", plain, self.TEXTS[:3])

    def test_a_graph_that_does_not_load_is_rejected(self, tmp_path: Path) -> None:
        plain = narrowed("distilbert", tmp_path)
        (tmp_path / "exported" / "unpadded.onnx").write_bytes(b"no graph")
        assert not same_logits(tmp_path / "exported" / "unpadded.onnx", plain, self.TEXTS)


def test_the_embedded_model_computes_nothing_for_padding() -> None:
    file = open_artifact("sentiment-en").files["int8"]
    session = ort.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    assert SKIPS_PADDING in session.get_modelmeta().custom_metadata_map
