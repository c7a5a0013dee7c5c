import math
import time

import numpy as np
import pytest

from app.errors import BackendError
from app.inference.runner import Runner
from app.inference.scores import softmax
from app.types import Batch, Encoding, FloatArray


class Sums:
    """A backend whose first logit is the sum of a text's ids, and which fails on a text with the id 666."""

    name, device, precision, slots, skips_padding = "sums", "cpu", "none", 1, False

    def __init__(self) -> None:
        self.batches: list[Batch] = []

    def run(self, batch: Batch) -> FloatArray:
        self.batches.append(batch)
        if (batch.input_ids == 666).any():
            raise RuntimeError("a text of a user")
        logits = np.zeros((len(batch), 2), dtype=np.float32)
        logits[:, 0] = (batch.input_ids * batch.attention_mask).sum(axis=1)
        logits[(batch.input_ids == 13).any(axis=1)] = np.nan
        return logits


def encoding(*ids: int) -> Encoding:
    return Encoding(ids, truncated=False)


def test_softmax_sums_to_one_and_survives_large_logits() -> None:
    probabilities = softmax(np.array([[1e4, 1e4 - 1, 0], [-3, 0, 3]], dtype=np.float32))
    assert probabilities.sum(axis=1) == pytest.approx([1, 1], abs=1e-9)
    assert probabilities[0].tolist() == pytest.approx([0.7310585, 0.2689414, 0.0], abs=1e-6)


def test_a_temperature_divides_the_logits() -> None:
    logits = np.array([[3, 1, -2], [0, 0, 5]], dtype=np.float32)
    assert softmax(logits, 2.0) == pytest.approx(softmax(logits / 2))
    assert softmax(logits, 1e-300)[0].tolist() == [1, 0, 0]


@pytest.mark.parametrize("temperature", [1e-3, 0.5, 1.0, 3.0, 1e300])
def test_no_temperature_changes_a_label(temperature: float) -> None:
    (result,) = Runner(Sums(), ("small", "big"), pad_id=0, temperature=temperature).run([encoding(-2)])
    assert not isinstance(result, BackendError)
    assert result.label == "big"
    assert result.confidence == result.scores["big"] == pytest.approx(1 / (1 + np.exp(-2 / temperature)))


def test_run_gives_each_text_its_label_and_all_scores() -> None:
    low, high = Runner(Sums(), ("big", "small"), pad_id=0).run([encoding(-2), Encoding([2, 1], truncated=True)])
    assert not isinstance(low, BackendError)
    assert not isinstance(high, BackendError)
    assert (low.label, high.label) == ("small", "big")
    assert list(high.scores) == ["big", "small"]
    assert high.confidence == high.scores["big"] == pytest.approx(0.952574, abs=1e-6)
    assert (low.truncated, high.truncated) == (False, True)


class SkipsPadding(Sums):
    skips_padding = True


def test_a_long_text_and_short_ones_run_apart_if_padding_is_skipped() -> None:
    texts = [encoding(-1), encoding(*[1] * 400), encoding(2, 2), encoding(-3, 1)]
    backend = SkipsPadding()
    results = Runner(backend, ("big", "small"), pad_id=0).run(texts)
    assert [getattr(result, "label", None) for result in results] == ["small", "big", "big", "small"]
    assert [batch.input_ids.shape for batch in backend.batches] == [(1, 400), (3, 2)]


def test_texts_of_similar_length_run_together_if_padding_is_skipped() -> None:
    backend = SkipsPadding()
    Runner(backend, ("big", "small"), pad_id=0).run([encoding(-1), encoding(1, 1, 1, 1)], alone=True)
    assert [(len(batch), batch.alone) for batch in backend.batches] == [(2, True)]


def test_a_bad_text_fails_alone_and_the_error_does_not_quote_it() -> None:
    backend = Sums()
    good, bad, other = Runner(backend, ("a", "b"), pad_id=0).run([encoding(1), encoding(666), encoding(2)])
    assert not isinstance(good, BackendError)
    assert not isinstance(other, BackendError)
    assert isinstance(bad, BackendError)
    assert "user" not in str(bad)
    assert isinstance(bad.__cause__, RuntimeError)
    assert [len(batch) for batch in backend.batches] == [3, 1, 2, 1, 1]


def test_a_bad_text_among_many_costs_few_runs() -> None:
    backend = Sums()
    results = Runner(backend, ("a", "b"), pad_id=0).run([encoding(666 if number == 5 else 1) for number in range(16)])
    assert [isinstance(result, BackendError) for result in results] == [number == 5 for number in range(16)]
    assert [len(batch) for batch in backend.batches] == [16, 8, 4, 4, 2, 1, 1, 2, 8]


def test_a_batch_too_large_for_the_memory_is_halved() -> None:
    class Small(Sums):
        def run(self, batch: Batch) -> FloatArray:
            logits = super().run(batch)
            if len(batch) > 4:
                raise MemoryError
            return logits

    backend = Small()
    results = Runner(backend, ("a", "b"), pad_id=0).run([encoding(1)] * 16)
    assert not any(isinstance(result, BackendError) for result in results)
    assert [len(batch) for batch in backend.batches] == [16, 8, 4, 4, 8, 4, 4]


def test_a_text_with_nan_scores_fails_alone() -> None:
    good, bad = Runner(Sums(), ("a", "b"), pad_id=0).run([encoding(1), encoding(13)])
    assert not isinstance(good, BackendError)
    assert isinstance(bad, BackendError)


def test_logits_of_another_shape_are_refused() -> None:
    (result,) = Runner(Sums(), ("a", "b", "c"), pad_id=0).run([encoding(1)])
    assert isinstance(result, BackendError)


def test_warm_up_measures_several_shapes() -> None:
    measured = Runner(Sums(), ("a", "b"), pad_id=0).warm_up(max_tokens=512, max_batch_size=16)
    assert len({tokens for tokens, _ in measured}) >= 4


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Warm up completely, however slow the machine is."""
    monkeypatch.setattr("app.inference.runner._WARMUP_BUDGET_S", math.inf)


@pytest.mark.usefixtures("unhurried")
def test_warm_up_stays_within_the_limits_of_the_model() -> None:
    backend = Sums()
    measured = Runner(backend, ("a", "b"), pad_id=0).warm_up(max_tokens=10, max_batch_size=2)
    assert max(batch.input_ids.shape[1] for batch in backend.batches) == 10
    assert max(len(batch) for batch in backend.batches) == 2
    assert all(ms > 0 for _, (ms,) in measured)


@pytest.mark.usefixtures("unhurried")
@pytest.mark.parametrize(("device", "largest"), [("cpu", (16, 512)), ("cuda", (128, 512))])
def test_warm_up_includes_the_largest_batch_of_the_device(device: str, largest: tuple[int, int]) -> None:
    backend = Sums()
    backend.device = device
    Runner(backend, ("a", "b"), pad_id=0).warm_up(max_tokens=512, max_batch_size=0)
    shapes = [batch.input_ids.shape for batch in backend.batches]
    assert (max(texts for texts, _ in shapes), max(tokens for _, tokens in shapes)) == largest


def test_warm_up_of_a_slow_model_is_short() -> None:
    class Slow(Sums):
        def run(self, batch: Batch) -> FloatArray:
            time.sleep(0.3)
            return super().run(batch)

    backend = Slow()
    ((_, (elapsed_ms,)),) = Runner(backend, ("a", "b"), pad_id=0).warm_up(max_tokens=512, max_batch_size=16)
    assert elapsed_ms >= 300
    assert len(backend.batches) == 3  # the first run is not measured


def test_warm_up_fails_when_the_model_does() -> None:
    with pytest.raises(BackendError, match="first run"):
        Runner(Sums(), ("a", "b"), pad_id=666).warm_up(max_tokens=512, max_batch_size=16)
