"""One contract for every backend, and the choice that `auto` makes."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Thread
from unittest.mock import Mock

import numpy as np
import onnxruntime
import pytest
import torch

from app.errors import ArtifactError, BackendError
from app.inference.artifact import Artifact, open_artifact
from app.inference.backends import Choice, choices, has_gpu, has_torch
from app.inference.backends.base import Backend
from app.inference.backends.mock import MockBackend, mock_artifact, mock_tokenizer
from app.inference.backends.onnx import OnnxBackend
from app.inference.backends.torch import TorchBackend
from app.inference.model import Model, load_model
from app.inference.padding import pad
from app.inference.runner import Runner
from app.inference.scores import softmax
from app.inference.tokenizer import Tokenizer
from app.types import Encoding

SENTENCES = {
    "I love this phone, the screen is gorgeous.": "positive",
    "An absolute waste of money.": "negative",
    "The parcel arrived on Tuesday.": "neutral",
    "The staff were friendly and the food was delicious.": "positive",
    "It broke after two days and nobody answers my emails.": "negative",
    "The meeting is at three o'clock in room 12.": "neutral",
}


def mock() -> tuple[Backend, Artifact, Tokenizer]:
    artifact = mock_artifact()
    return MockBackend(), artifact, Tokenizer(mock_tokenizer(), artifact.max_tokens)


def embedded(kind: Callable[..., Backend]) -> tuple[Backend, Artifact, Tokenizer]:
    artifact = open_artifact("sentiment-en")
    return kind(artifact), artifact, Tokenizer.load(artifact.directory, artifact.max_tokens)


def tempered_by_2(backend: str, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> Model:
    """The same artifact on the same backend, with the temperature 2 in its config.json."""
    monkeypatch.setattr("app.inference.backends.mock.mock_artifact", lambda: replace(mock_artifact(), temperature=2.0))
    copy = scratch / "copy"
    shutil.copytree(open_artifact("sentiment-en").directory, copy)
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"calibration_temperature": 2.0}))
    (copy / "manifest.json").unlink()  # its checksum would not match
    return load_model(str(copy), backend=backend, device="cpu")


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(lambda: embedded(OnnxBackend), id="onnx"),
        pytest.param(lambda: embedded(TorchBackend), id="torch"),
        pytest.param(mock, id="mock"),
    ],
)
def loaded(request: pytest.FixtureRequest) -> tuple[Backend, Artifact, Tokenizer]:
    return request.param()


class TestContract:
    def test_it_has_a_name_a_device_and_a_precision(self, loaded: tuple[Backend, Artifact, Tokenizer]) -> None:
        backend = loaded[0]
        assert backend.name in ("onnx", "torch", "mock")
        assert backend.device == "cpu"
        assert backend.precision
        assert backend.slots >= 1

    @pytest.mark.parametrize("texts", [1, 2, 7])
    @pytest.mark.parametrize("words", [1, 30, 700])
    def test_logits_have_one_row_per_text_and_one_column_per_label(
        self, loaded: tuple[Backend, Artifact, Tokenizer], texts: int, words: int
    ) -> None:
        backend, artifact, tokenizer = loaded
        logits = backend.run(pad(tokenizer.encode_many(["good " * words] * texts), artifact.pad_id))
        assert logits.shape == (texts, len(artifact.labels))
        assert logits.dtype == np.float32
        assert np.isfinite(logits).all()

    def test_scores_sum_to_one_in_the_order_of_the_labels(self, loaded: tuple[Backend, Artifact, Tokenizer]) -> None:
        backend, artifact, tokenizer = loaded
        runner = Runner(backend, artifact.labels, artifact.pad_id)
        for result in runner.run(tokenizer.encode_many(list(SENTENCES))):
            assert not isinstance(result, BackendError)
            assert tuple(result.scores) == artifact.labels
            assert sum(result.scores.values()) == pytest.approx(1, abs=1e-6)
            assert result.confidence == max(result.scores.values()) == result.scores[result.label]

    def test_a_temperature_flattens_the_scores_and_changes_no_label(
        self, loaded: tuple[Backend, Artifact, Tokenizer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        backend, artifact, tokenizer = loaded
        tempered = tempered_by_2(backend.name, tmp_path, monkeypatch)
        assert tempered.info.temperature == 2
        for text in SENTENCES:
            encoding = tokenizer.encode(text)
            logits = backend.run(pad([encoding], artifact.pad_id))
            (result,) = tempered.runner.run([replace(encoding, depth="full")])
            assert not isinstance(result, BackendError)
            assert list(result.scores.values()) == pytest.approx(softmax(logits / 2)[0].tolist(), abs=1e-6)
            assert result.confidence < softmax(logits).max()
            assert result.label == artifact.labels[logits.argmax()]

    def test_the_same_text_has_the_same_logits(self, loaded: tuple[Backend, Artifact, Tokenizer]) -> None:
        backend, artifact, tokenizer = loaded
        batch = pad([tokenizer.encode("not bad at all")], artifact.pad_id)
        assert np.array_equal(backend.run(batch), backend.run(batch))

    def test_other_texts_in_the_batch_do_not_change_a_score(self, loaded: tuple[Backend, Artifact, Tokenizer]) -> None:
        backend, artifact, tokenizer = loaded
        encodings = tokenizer.encode_many([*SENTENCES, "padding " * 100])
        alone = np.concatenate([backend.run(pad([encoding], artifact.pad_id)) for encoding in encodings])
        for order in (range(len(encodings)), reversed(range(len(encodings)))):
            places = [*order]
            together = backend.run(pad([encodings[place] for place in places], artifact.pad_id))
            assert np.abs(softmax(together) - softmax(alone[places])).max() < 0.001

    def test_threads_do_not_mix_up_their_answers(self, loaded: tuple[Backend, Artifact, Tokenizer]) -> None:
        backend, artifact, tokenizer = loaded
        batches = [pad([tokenizer.encode(text)], artifact.pad_id) for text in SENTENCES]
        expected = [backend.run(batch) for batch in batches]
        wrong: list[int] = []

        def work(offset: int) -> None:
            for step in range(24):
                index = (step + offset) % len(batches)
                if not np.array_equal(backend.run(batches[index]), expected[index]):
                    wrong.append(index)

        threads = [Thread(target=work, args=(offset,)) for offset in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []


@pytest.mark.parametrize("kind", [OnnxBackend, TorchBackend])
def test_the_embedded_model_labels_plain_sentences(kind: Callable[..., Backend]) -> None:
    backend, artifact, tokenizer = embedded(kind)
    results = Runner(backend, artifact.labels, artifact.pad_id).run(tokenizer.encode_many(list(SENTENCES)))
    assert [getattr(result, "label", None) for result in results] == list(SENTENCES.values())


def test_torch_and_onnx_agree_on_real_sentences() -> None:
    scores = []
    for kind in (OnnxBackend, TorchBackend):
        backend, artifact, tokenizer = embedded(kind)
        batches = [pad([tokenizer.encode(text)], artifact.pad_id) for text in SENTENCES]
        scores.append(np.concatenate([softmax(backend.run(batch)) for batch in batches]))
    assert scores[0].argmax(axis=1).tolist() == scores[1].argmax(axis=1).tolist()
    assert np.abs(scores[0] - scores[1]).max() < 0.1  # int8 against float32


def test_torch_runs_in_bf16() -> None:
    backend = TorchBackend(open_artifact("sentiment-en"), precision="bf16")
    assert backend.precision == "bf16"
    _, artifact, tokenizer = embedded(OnnxBackend)
    logits = backend.run(pad(tokenizer.encode_many(list(SENTENCES)), artifact.pad_id))
    assert [artifact.labels[index] for index in logits.argmax(axis=1)] == list(SENTENCES.values())


class TestRefusals:
    def test_onnx_names_a_precision_that_is_not_there(self) -> None:
        with pytest.raises(BackendError, match="no ONNX file of precision fp32"):
            OnnxBackend(open_artifact("sentiment-en"), precision="fp32")

    def test_onnx_names_a_device_that_its_build_lacks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
        with pytest.raises(BackendError, match="cannot use cuda"):
            OnnxBackend(open_artifact("sentiment-en"), device="cuda")

    def test_onnx_names_a_file_that_is_no_graph(self, tmp_path: Path) -> None:
        (tmp_path / "model.onnx").write_text("no graph")
        artifact = Artifact("x", tmp_path, ("a", "b"), 8, 0, {"onnx": tmp_path / "model.onnx"})
        with pytest.raises(BackendError, match=r"model\.onnx: ONNX Runtime cannot load it"):
            OnnxBackend(artifact)

    def test_torch_names_what_is_missing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        with pytest.raises(BackendError, match="no CUDA device"):
            TorchBackend(open_artifact("sentiment-en"), device="cuda")
        with pytest.raises(BackendError, match="not int8"):
            TorchBackend(open_artifact("sentiment-en"), precision="int8")
        with pytest.raises(BackendError, match="no PyTorch weights"):
            TorchBackend(Artifact("x", tmp_path, ("a", "b"), 8, 0, {}))

    def test_torch_names_weights_that_cannot_be_loaded(self, tmp_path: Path) -> None:
        (tmp_path / "config.json").write_text('{"model_type": "distilbert"}')
        (tmp_path / "model.safetensors").write_text("no weights")
        artifact = Artifact("x", tmp_path, ("a", "b"), 8, 0, {"safetensors": tmp_path / "model.safetensors"})
        with pytest.raises(BackendError, match="PyTorch cannot load it"):
            TorchBackend(artifact)


class TestMock:
    def run(self, *texts: str, **faults: float) -> list[str]:
        _, artifact, tokenizer = mock()
        runner = Runner(MockBackend(**faults), artifact.labels, artifact.pad_id)
        results = runner.run(tokenizer.encode_many(list(texts)))
        return [getattr(result, "label", "failed") for result in results]

    def test_it_counts_words_of_two_lists(self) -> None:
        assert self.run("Good, GREAT!", "bad good awful", "the sky", "...") == [
            "positive", "negative", "neutral", "neutral",
        ]  # fmt: skip

    def test_a_word_makes_one_text_fail(self) -> None:
        assert self.run("good", "good [fail]", "[nan] good", "bad") == ["positive", "failed", "failed", "negative"]

    def test_the_failure_rate_makes_the_same_batches_fail_each_time(self) -> None:
        outcomes = [self.run(*["good"] * 200, failure_rate=0.3) for _ in range(2)]
        assert outcomes[0] == outcomes[1]
        backend = MockBackend(failure_rate=0.3)
        _, artifact, tokenizer = mock()
        runner = Runner(backend, artifact.labels, artifact.pad_id)
        failed = sum(isinstance(runner.run([tokenizer.encode("good")])[0], BackendError) for _ in range(1000))
        assert 240 < failed < 360


def artifact_with(*kinds: str) -> Artifact:
    return Artifact("m", Path("/m"), ("a", "b"), 512, 0, {kind: Path(f"/m/{kind}") for kind in kinds})


class TestAuto:
    @pytest.mark.parametrize(
        ("device", "kinds", "torch_installed", "gpu", "expected"),
        [
            ("auto", ("int8", "safetensors"), True, False, ["onnx cpu", "torch cpu"]),
            ("auto", ("int8", "safetensors"), False, False, ["onnx cpu"]),
            ("auto", ("int8", "safetensors"), True, True, ["torch cuda", "onnx cpu", "torch cpu"]),
            ("auto", ("onnx",), True, True, ["onnx cpu"]),
            ("auto", ("safetensors",), True, False, ["torch cpu"]),
            ("cpu", ("int8", "safetensors"), True, True, ["onnx cpu", "torch cpu"]),
            ("cuda", ("int8", "safetensors"), True, False, ["torch cuda", "onnx cuda"]),
            ("cuda", ("int8",), False, True, ["onnx cuda"]),
        ],
    )
    def test_auto_depends_on_the_artifact_and_the_machine(
        self, device: str, kinds: tuple[str, ...], torch_installed: bool, gpu: bool, expected: list[str]
    ) -> None:
        chosen = choices("auto", device, artifact_with(*kinds), has_torch=torch_installed, has_gpu=gpu)
        assert [f"{choice.backend} {choice.device}" for choice in chosen] == expected
        assert all(choice.reason for choice in chosen)

    def test_a_configured_backend_has_no_fallback(self) -> None:
        artifact = artifact_with("int8", "safetensors")
        assert choices("torch", "cuda", artifact, has_torch=True, has_gpu=False) == [
            Choice("torch", "cuda", "named in the settings")
        ]
        chosen = choices("torch", "auto", artifact, has_torch=True, has_gpu=True)
        assert [choice.device for choice in chosen] == ["cuda", "cpu"]
        assert choices("onnx", "auto", artifact, has_torch=True, has_gpu=True) == [
            Choice("onnx", "cpu", "named in the settings")
        ]

    def test_the_error_says_what_to_do_if_no_backend_fits(self) -> None:
        with pytest.raises(ArtifactError, match=r"It has safetensors\. .*onnx_export.*rt-sentiment\[torch\]"):
            choices("auto", "auto", artifact_with("safetensors"), has_torch=False, has_gpu=False)

    def test_torch_and_gpus_are_detected_without_an_import(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert has_torch()
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
        assert not has_gpu()
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
        monkeypatch.setattr(Path, "glob", lambda *_: iter([Path("/dev/nvidia0")]))
        assert has_gpu()


def test_logits_are_the_same_on_processors_without_vnni(monkeypatch: pytest.MonkeyPatch) -> None:
    backend, artifact, tokenizer = embedded(OnnxBackend)
    monkeypatch.setattr("app.inference.backends.onnx.overflows_in_int8", lambda: True)
    exact, _, _ = embedded(OnnxBackend)
    batch = pad(tokenizer.encode_many([*SENTENCES]), artifact.pad_id)
    np.testing.assert_allclose(exact.run(batch), backend.run(batch), atol=1e-4)
    for graph in exact._graphs:  # type: ignore[attr-defined]
        settings = graph.narrow.get_session_options()
        assert settings.get_session_config_entry("session.x64quantprecision") == "1"


class TestRunningAlone:
    @pytest.mark.parametrize("words", [1, 20, 300])
    def test_scores_are_the_same_with_the_threads_of_all_slots(self, words: int) -> None:
        artifact = open_artifact("sentiment-en")
        backend = OnnxBackend(artifact, slots=2)
        tokenizer = Tokenizer.load(artifact.directory, artifact.max_tokens)
        batch = pad([tokenizer.encode("not bad at all " * words)], artifact.pad_id)
        expected = backend.run(batch)
        assert np.allclose(backend.run(replace(batch, alone=True)), expected, atol=1e-5)

    def test_a_batch_alone_gets_the_session_with_several_threads(self) -> None:
        backend = OnnxBackend(open_artifact("sentiment-en"), slots=2)
        graph = backend._graphs[0]
        narrow, wide = Mock(wraps=graph.narrow), Mock(wraps=graph.wide)
        backend._graphs[0] = replace(graph, narrow=narrow, wide=wide)
        batch = pad([Encoding([2, 3], truncated=False)], 0)
        backend.run(batch)
        backend.run(replace(batch, alone=True))
        assert (narrow.run.call_count, wide.run.call_count) == (1, 1)
        assert wide.get_session_options().intra_op_num_threads == 2

    def test_one_slot_has_one_session(self) -> None:
        backend = OnnxBackend(open_artifact("sentiment-en"), slots=1)
        assert all(graph.wide is graph.narrow for graph in backend._graphs)
