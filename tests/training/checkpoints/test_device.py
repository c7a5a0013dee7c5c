from pathlib import Path

import pytest
import torch

from app.inference.tokenizer import Tokenizer
from tests.support.tiny import tiny_classifier
from training.checkpoints.device import Device


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_classifier(tmp_path_factory.mktemp("device"))


def logits(checkpoint: Path, *labels: str) -> dict[str, float]:
    model = Device().load(checkpoint, labels).eval()
    with torch.no_grad():
        values = model(torch.tensor([Tokenizer.load(checkpoint, 512).encode("The film is lovely.").ids])).logits[0]
    assert values.shape == (model.config.num_labels,)
    return {model.config.id2label[index]: score for index, score in enumerate(values.tolist())}


def test_labels_in_another_order_keep_their_weights(checkpoint: Path) -> None:
    assert logits(checkpoint, "positive", "negative", "neutral") == pytest.approx(logits(checkpoint), abs=1e-5)


def test_labels_of_another_language_keep_the_weights_of_what_they_mean(checkpoint: Path) -> None:
    before, after = logits(checkpoint), logits(checkpoint, "négatif", "neutre", "positif")
    assert list(after) == ["négatif", "neutre", "positif"]
    assert [*after.values()] == pytest.approx([*before.values()], abs=1e-5)


def test_a_subset_of_the_labels_keeps_its_weights(checkpoint: Path) -> None:
    before, after = logits(checkpoint), logits(checkpoint, "negative", "positive")
    assert after == pytest.approx({label: before[label] for label in ("negative", "positive")}, abs=1e-5)


def test_new_labels_start_untrained(checkpoint: Path) -> None:
    before, after = logits(checkpoint), logits(checkpoint, "bug", "neutral", "praise")
    assert after["neutral"] == pytest.approx(before["neutral"], abs=1e-5)
    assert after["bug"] != pytest.approx(before["negative"], abs=1e-5)


def test_weights_are_float32(checkpoint: Path) -> None:
    assert {parameter.dtype for parameter in Device().load(checkpoint).parameters()} == {torch.float32}
