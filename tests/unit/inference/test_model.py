import json
import shutil
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from app.errors import ArtifactError, BackendError, InvalidInput
from app.inference.artifact import open_artifact
from app.inference.backends import BACKENDS
from app.inference.backends.mock import MockBackend
from app.inference.backends.onnx import OnnxBackend
from app.inference.backends.torch import TorchBackend
from app.inference.model import Model, load_model
from app.inference.runner import Runner
from app.inference.scores import softmax
from app.types import Batch, FloatArray
from tests.support.waiting import HANG_S


def test_auto_chooses_onnx_on_a_cpu_and_logs_the_reason(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="sentiment"):
        model = load_model("sentiment-en", device="cpu")
    (record,) = caplog.records
    assert record.message == "backend chosen"
    assert record.fields == {  # type: ignore[attr-defined]
        "backend": "onnx",
        "device": "cpu",
        "why": "there is an ONNX file, the fastest format on a CPU",
    }
    assert model.warmup


def test_a_model_describes_itself(embedded: Model) -> None:
    info = embedded.info
    assert info.model == "sentiment-en"
    assert info.labels == ("negative", "neutral", "positive")
    assert (info.backend, info.device, info.precision) == ("onnx", "cpu", "int8")
    manifest = embedded.artifact.manifest
    assert info.checksum == "sha256:" + manifest["files"]["model_int8.onnx"]["sha256"]
    assert info.model_version == manifest["version"]
    assert info.id == f"sentiment-en@{info.model_version}"
    odd = replace(info, model="Größe\r\nx-evil: 1", model_version="a b")
    assert odd.id == "Gr%C3%B6%C3%9Fe%0D%0Ax-evil:%201@a%20b"  # valid in a header


def test_torch_is_described_by_its_own_weights() -> None:
    model = load_model("sentiment-en", backend="torch", device="cpu")
    sha256 = model.artifact.manifest["files"]["model.safetensors"]["sha256"]
    assert model.info.checksum == f"sha256:{sha256}"
    assert model.info.precision == "fp32"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(open_artifact("sentiment-en").directory, tmp_path / "mine"))


def test_auto_falls_back_from_a_broken_onnx_file_to_torch(copy: Path, caplog: pytest.LogCaptureFixture) -> None:
    (copy / "model_int8.onnx").write_bytes(b"broken")
    (copy / "manifest.json").unlink()  # without it, nothing states the checksum
    with caplog.at_level("INFO", logger="sentiment"):
        model = load_model(str(copy), device="cpu")
    assert model.backend.name == "torch"
    assert [record.message for record in caplog.records] == ["backend failed, trying the next", "backend chosen"]
    assert "cannot load it" in caplog.records[0].fields["why"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("loading_s", [0.0, 5.0], ids=["measured alike", "its warm-up stops early"])
def test_of_compared_backends_the_fastest_is_kept(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, loading_s: float
) -> None:
    clock = SimpleNamespace(now_s=0.0, perf_counter=lambda: clock.now_s)
    monkeypatch.setattr("app.inference.runner.time", clock)
    monkeypatch.setattr("app.inference.model.time", clock)

    def find_limit(self: Runner, *args: Any, run: Any = Runner.find_limit) -> tuple[int, str]:
        clock.now_s += loading_s if isinstance(self._backend, TorchBackend) else 0.0
        return run(self, *args)  # type: ignore[no-any-return]

    monkeypatch.setattr(Runner, "find_limit", find_limit)
    for backend, seconds in ((OnnxBackend, 0.2), (TorchBackend, 0.1)):

        def timed(self: Any, batch: Batch, *, run: Any = backend.run, seconds: float = seconds) -> FloatArray:
            clock.now_s += seconds
            return run(self, batch)  # type: ignore[no-any-return]

        monkeypatch.setattr(backend, "run", timed)
    with caplog.at_level("INFO", logger="sentiment"):
        model = load_model("sentiment-en", device="cpu", compare=True, slots=1, depth="full")
    assert model.backend.name == "torch"
    speeds = model.info.compared_tokens_per_s
    assert list(speeds) == ["onnx cpu", "torch cpu"]
    assert 0 < speeds["onnx cpu"] < speeds["torch cpu"]
    assert caplog.records[-1].fields["why"] == "the fastest of those that were measured"  # type: ignore[attr-defined]


def test_a_backend_that_does_not_load_is_not_compared(copy: Path) -> None:
    (copy / "manifest.json").unlink()
    (copy / "model.safetensors").write_bytes(b"broken")
    model = load_model(str(copy), device="cpu", compare=True)
    assert list(model.info.compared_tokens_per_s) == ["onnx cpu"]


def test_auto_does_not_fall_back_from_a_replaced_file(copy: Path) -> None:
    (copy / "model_int8.onnx").write_bytes(b"broken")
    with pytest.raises(ArtifactError, match=r"model_int8\.onnx: checksum differs"):
        load_model(str(copy), device="cpu")


def test_the_error_is_that_of_the_last_backend_if_all_fail(copy: Path) -> None:
    (copy / "manifest.json").unlink()
    (copy / "model_int8.onnx").write_bytes(b"broken")
    (copy / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(BackendError, match="PyTorch cannot load it"):
        load_model(str(copy), device="cpu")


def test_a_backend_that_was_named_does_not_fall_back(copy: Path) -> None:
    (copy / "model_int8.onnx").unlink()
    with pytest.raises(BackendError, match="no ONNX file"):
        load_model(str(copy), backend="onnx")


def test_the_error_says_how_to_install_a_missing_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKENDS, "torch", "not_installed:TorchBackend")
    with pytest.raises(ArtifactError, match=r"pip install 'rt-sentiment\[torch\]'"):
        load_model("sentiment-en", backend="torch")


def test_a_replaced_tokenizer_is_refused(copy: Path) -> None:
    text = (copy / "tokenizer.json").read_text()
    (copy / "tokenizer.json").write_text(text.replace('"good"', '"!!"').replace('"bad"', '"good"'))
    with pytest.raises(ArtifactError, match=r"tokenizer\.json: checksum differs"):
        load_model(str(copy))
    (copy / "tokenizer.json").unlink()
    with pytest.raises(ArtifactError, match=r"tokenizer\.json: listed in manifest\.json but missing"):
        load_model(str(copy))


def test_a_model_answers_with_its_own_labels(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    config["id2label"] = {"0": "BAD", "1": "MEH", "2": "GOOD"}
    (copy / "config.json").write_text(json.dumps(config))
    (copy / "manifest.json").unlink()  # its checksum would not match
    model = load_model(str(copy), backend="onnx")
    result = model.runner.run([model.tokenizer.encode("What a wonderful day")])[0]
    assert getattr(result, "label", None) == "good"
    assert model.info.model == "mine"


def test_the_mock_needs_no_model() -> None:
    model = load_model("no-such-model", backend="mock")
    assert model.info.checksum is None
    assert model.backend.name == "mock"


def test_a_mock_that_always_fails_can_be_loaded() -> None:
    model = load_model("sentiment-en", backend="mock", mock_failure_rate=1)
    assert model.warmup
    (failed,) = model.runner.run([model.tokenizer.encode("good")])
    assert isinstance(failed, BackendError)


def test_the_warm_up_runs_all_slots_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    running, most, together = 0, 0, threading.Barrier(1)
    lock = threading.Lock()
    run = MockBackend.run

    def counting(self: MockBackend, batch: Batch) -> FloatArray:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        try:
            together.wait(HANG_S)
            return run(self, batch)
        finally:
            with lock:
                running -= 1

    monkeypatch.setattr(MockBackend, "run", counting)
    for slots, workers, expected in ((0, 1, 2), (0, 2, 1), (0, 8, 1), (1, 1, 1), (5, 1, 5), (5, 2, 5)):
        most, together = 0, threading.Barrier(expected)
        model = load_model("sentiment-en", backend="mock", slots=slots, workers=workers)
        assert most == expected == model.backend.slots


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (
            ModuleNotFoundError("No module named 'torch'"),
            r"No module named 'torch'.*pip install 'rt-sentiment\[torch\]'",
        ),
        (FileNotFoundError("No usable temporary directory"), "No usable temporary directory.*broken"),
    ],
)
def test_the_error_says_why_a_backend_cannot_be_imported(
    error: Exception, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(name: str, package: str) -> None:
        raise error

    monkeypatch.setattr("app.inference.backends.loading.importlib.import_module", fail)
    with pytest.raises(ArtifactError, match=hint):
        load_model("sentiment-en", backend="torch")


def test_predict_returns_predictions_in_the_order_of_the_texts(embedded: Model) -> None:
    texts = ["A masterpiece.", "I want my money back after all of this.", "The parcel arrived.", "Good"] * 9
    together = embedded.predict(texts, batch_size=4)
    alone = [embedded.predict([text])[0] for text in texts[:4]] * 9
    assert [each.label for each in together] == [each.label for each in alone]


def test_predict_reports_its_progress(embedded: Model) -> None:
    done: list[int] = []
    embedded.predict(["good", "bad", "fine"], batch_size=2, on_done=done.append)
    assert done == [2, 1]


def test_predict_limits_the_tokens_of_a_batch(embedded: Model) -> None:
    done: list[int] = []
    embedded.predict(["good " * 60, "good " * 60, "bad", "fine"], batch_tokens=100, on_done=done.append)
    assert done == [1, 1, 2]


def test_predict_names_the_text_without_visible_characters(embedded: Model) -> None:
    with pytest.raises(InvalidInput) as caught:
        embedded.predict(["good", " \u200b"])
    assert caught.value.loc == (1,)


def test_predict_can_read_a_long_text_in_windows(embedded: Model) -> None:
    text = "It was awful. " * 300 + "It was great."
    (cut,), (whole,) = embedded.predict([text]), embedded.predict([text], long_text="window")
    assert cut.truncated
    assert not whole.truncated


def test_scores_are_the_softmax_of_the_logits_over_temperature(embedded: Model) -> None:
    (logits,) = embedded.logits(["A masterpiece."])
    (prediction,) = embedded.runner.run([replace(embedded.tokenizer.encode("A masterpiece."), depth="full")])
    assert not isinstance(prediction, BackendError)
    assert list(prediction.scores.values()) == pytest.approx(
        softmax(logits[None], embedded.artifact.temperature)[0].tolist()
    )


def test_predict_wants_a_sequence_of_texts_not_one(embedded: Model) -> None:
    for wrong in ("good", [b"good"], [None]):
        with pytest.raises(TypeError, match="a sequence of texts"):
            embedded.predict(wrong)  # type: ignore[arg-type]


def test_predict_stops_at_the_first_error(monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_model("", backend="mock", slots=1)
    runs: list[int] = []
    run = MockBackend.run

    def counting(self: MockBackend, batch: Batch) -> FloatArray:
        runs.append(len(batch))
        return run(self, batch)

    monkeypatch.setattr(MockBackend, "run", counting)
    with pytest.raises(BackendError):
        model.predict(["[fail]" + " word" * 50, *["good"] * 5000], batch_size=1)
    assert len(runs) < 5000
