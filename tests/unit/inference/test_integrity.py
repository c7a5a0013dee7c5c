"""What was hashed is what is loaded: a manifest covers every file that is read, and the bytes that are used."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from app.errors import ArtifactError, BackendError, CorruptArtifact
from app.inference.artifact import open_artifact
from app.inference.backends import choices
from app.inference.backends.onnx import OnnxBackend
from app.inference.backends.torch import TorchBackend
from app.inference.files import MANIFEST, ModelFiles, open_files
from app.inference.model import load_model
from app.inference.tokenizer import Tokenizer
from app.types import Batch
from tests.support.checkpoints import BERT, checkpoint, save_tokenizer
from tests.support.graphs import graph

BATCH = Batch(np.array([[3, 4, 2]]), np.ones((1, 3), dtype=np.int64))


def sign(directory: Path, *, without: str = "") -> str:
    """Write a manifest of all files but one, and return its sha256."""
    files = {
        file.relative_to(directory).as_posix(): {"sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
        for file in sorted(directory.rglob("*"))
        if file.is_file() and file.name not in (MANIFEST, without)
    }
    (directory / MANIFEST).write_text(json.dumps({"files": files}))
    return hashlib.sha256((directory / MANIFEST).read_bytes()).hexdigest()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A signed model with one format: an ONNX graph of random weights."""
    directory = tmp_path / "model"
    directory.mkdir()
    (directory / "config.json").write_text('{"id2label": {"0": "bad", "1": "good"}}')
    save_tokenizer(directory, BERT)
    graph(directory / "model_int8.onnx")
    sign(directory)
    return directory


def other_graph(file: Path) -> None:
    graph(file, first_position=7)


def external(directory: Path, location: str, *, folder: str = ".") -> Path:
    """Write a graph whose weights are in another file, and return the graph."""
    (directory / folder).mkdir(exist_ok=True, parents=True)
    file = graph(directory / folder / "model.onnx")
    loaded = onnx.load(file)
    onnx.save_model(loaded, file, save_as_external_data=True, location="weights", size_threshold=64)
    content = onnx.load(file, load_external_data=False)
    for tensor in content.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    file.write_bytes(content.SerializeToString())
    target = Path(os.path.normpath(file.parent / location))
    target.parent.mkdir(exist_ok=True, parents=True)
    (file.parent / "weights").rename(target)
    return file


@pytest.mark.parametrize(
    "name",
    ["model.onnx", "onnx/model.onnx", "model_quantized.onnx", "onnx/model_int8.onnx", "onnx/model_quantized.onnx"],
)
def test_weights_that_the_manifest_does_not_list_are_refused(model: Path, name: str) -> None:
    (model / "model_int8.onnx").unlink()
    (model / name).parent.mkdir(exist_ok=True)
    other_graph(model / name)
    with pytest.raises(CorruptArtifact, match=rf"{name}: not listed in manifest\.json"):
        load_model(str(model), device="cpu")


@pytest.mark.parametrize("name", ["model.safetensors", "model.safetensors.index.json"])
def test_torch_refuses_weights_that_the_manifest_does_not_list(tmp_path: Path, name: str) -> None:
    checkpoint(tmp_path, "bert", pad_token_id=0, shard_size="8KB" if "index" in name else "1GB")
    sign(tmp_path, without=name)
    with pytest.raises(CorruptArtifact, match=f"{name}: not listed"):
        TorchBackend(open_artifact(str(tmp_path)))


def test_torch_verifies_every_shard(tmp_path: Path) -> None:
    checkpoint(tmp_path, "bert", pad_token_id=0, shard_size="8KB")
    sign(tmp_path)
    TorchBackend(open_artifact(str(tmp_path)))
    shard = sorted(tmp_path.glob("model-*.safetensors"))[1]
    shard.write_bytes(shard.read_bytes()[:-1] + b"\1")
    with pytest.raises(CorruptArtifact, match=f"{shard.name}: checksum differs"):
        TorchBackend(open_artifact(str(tmp_path)))
    sign(tmp_path, without=shard.name)
    with pytest.raises(CorruptArtifact, match=f"{shard.name}: not listed"):
        TorchBackend(open_artifact(str(tmp_path)))


@pytest.mark.parametrize(
    "name", ["config.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt", "added_tokens.json"]
)
def test_other_files_that_it_does_not_list_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "config.json").write_text('{"id2label": {"0": "bad", "1": "good"}, "model_type": "bert"}')
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad"]))
    (tmp_path / "added_tokens.json").write_text("{}")
    (tmp_path / "tokenizer_config.json").write_text("{}")
    if name == "tokenizer.json":
        shutil.copy(open_artifact("sentiment-en").directory / name, tmp_path)
    sign(tmp_path)
    Tokenizer.read(open_files(tmp_path), 16)
    sign(tmp_path, without=name)
    with pytest.raises(CorruptArtifact, match=f"{name}: not listed"):
        Tokenizer.read(open_artifact(str(tmp_path)).source, 16)


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
def test_a_file_that_is_listed_must_be_there(model: Path, name: str) -> None:
    (model / name).unlink()
    with pytest.raises(ArtifactError, match=rf"{name}: listed in manifest\.json but missing"):
        Tokenizer.read(open_artifact(str(model)).source, 16)


Loader = Callable[[Path], object]


def load_onnx(directory: Path) -> object:
    return OnnxBackend(open_artifact(str(directory))).run(BATCH).tolist()


def load_torch(directory: Path) -> object:
    return TorchBackend(open_artifact(str(directory))).run(BATCH).tolist()


def load_tokenizer(directory: Path) -> object:
    return Tokenizer.read(open_artifact(str(directory)).source, 16).encode("good").ids.tolist()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("name", "load"),
    [("model_int8.onnx", load_onnx), ("model.safetensors", load_torch), ("tokenizer.json", load_tokenizer)],
)
def test_a_file_that_is_replaced_after_it_was_read_has_no_effect(
    model: Path, name: str, load: Loader, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint(model, "bert", pad_token_id=0)
    sign(model)
    expected = load(model)
    read_bytes = Path.read_bytes

    def read_and_replace(file: Path) -> bytes:
        content = read_bytes(file)
        if file.name == name:
            file.unlink()
            file.write_bytes(b"foreign")
        return content

    monkeypatch.setattr(Path, "read_bytes", read_and_replace)
    assert load(model) == expected
    monkeypatch.undo()
    assert (model / name).read_bytes() == b"foreign"


class TestExternalData:
    @pytest.mark.parametrize(
        ("folder", "location"),
        [
            (".", "model.onnx_data"),
            ("onnx", "model.onnx_data"),
            (".", "parts/any"),
            ("onnx", "../any"),
            (".", "x" * 200),
        ],
    )
    def test_it_is_verified_and_loaded(self, model: Path, folder: str, location: str) -> None:
        (model / "model_int8.onnx").unlink()
        file = external(model, location, folder=folder)
        sign(model)
        plain = OnnxBackend(open_artifact(str(whole(model / "whole"))))
        backend = OnnxBackend(open_artifact(str(model)), slots=2)
        np.testing.assert_array_equal(backend.run(BATCH), plain.run(BATCH))
        data = file.parent / location
        sign(model, without=data.name)
        with pytest.raises(CorruptArtifact, match=r"not listed in manifest\.json"):
            OnnxBackend(open_artifact(str(model)))
        sign(model)
        data.write_bytes(data.read_bytes()[:-1] + b"\1")
        with pytest.raises(CorruptArtifact, match=r"checksum differs from manifest\.json"):
            OnnxBackend(open_artifact(str(model)))
        data.unlink()
        with pytest.raises(ArtifactError, match=r"listed in manifest\.json but missing"):
            OnnxBackend(open_artifact(str(model)))

    @pytest.mark.parametrize("signed", [True, False])
    @pytest.mark.parametrize("place", ["../outside", "{}/outside", "parts/../../outside"])
    def test_a_file_outside_the_model_is_refused(self, model: Path, signed: bool, place: str) -> None:
        (model / "model_int8.onnx").unlink()
        (model / "parts").mkdir()
        external(model, place.format(model.parent))
        if signed:
            sign(model)
        else:
            (model / MANIFEST).unlink()
        assert (model.parent / "outside").is_file()
        with pytest.raises(ArtifactError, match="is not inside the directory of the model"):
            OnnxBackend(open_artifact(str(model)))

    def test_a_file_in_the_working_directory_is_not_read(self, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (model / "model_int8.onnx").unlink()
        file = external(model, "weights")
        (model / "weights").rename(model.parent / "weights")
        sign(model)
        monkeypatch.chdir(model.parent)
        with pytest.raises(BackendError, match=f"{file.name}: ONNX Runtime cannot load it"):
            OnnxBackend(open_artifact(str(model)))


def whole(directory: Path) -> Path:
    directory.mkdir()
    (directory / "config.json").write_text('{"id2label": {"0": "bad", "1": "good"}}')
    graph(directory / "model.onnx")
    return directory


class TestDigest:
    def test_a_model_with_this_manifest_is_loaded(self, model: Path) -> None:
        digest = sign(model)
        info = load_model(str(model), digest=digest, device="cpu").info
        assert info.manifest == f"sha256:{digest}"
        assert load_model(str(model), digest=info.manifest, device="cpu").info == info

    def test_a_model_with_another_manifest_is_refused(self, model: Path) -> None:
        digest = sign(model)
        other_graph(model / "model_int8.onnx")
        now = sign(model)
        with pytest.raises(CorruptArtifact, match=f"its sha256 is {now}, but SENTIMENT_MODEL_DIGEST is {digest}"):
            load_model(str(model), digest=digest, device="cpu")

    def test_a_model_without_a_manifest_is_refused(self, model: Path) -> None:
        digest = sign(model)
        (model / MANIFEST).unlink()
        with pytest.raises(CorruptArtifact, match=r"no manifest\.json, whose sha256 SENTIMENT_MODEL_DIGEST states"):
            load_model(str(model), digest=digest, device="cpu")
        assert load_model(str(model), device="cpu").info.manifest is None

    def test_the_manifest_is_read_once(self, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        reads: list[str] = []
        read_bytes = Path.read_bytes
        monkeypatch.setattr(Path, "read_bytes", lambda file: (reads.append(file.name), read_bytes(file))[1])
        load_model(str(model), digest=sign(model), device="cpu")
        assert reads.count(MANIFEST) == 1 + 1  # the other one is that of `sign`
        assert reads.count("model_int8.onnx") == 1 + 1


@pytest.mark.parametrize(
    "manifest",
    [
        {}, {"files": []}, {"files": {"a": "x"}}, {"files": {"a": {}}}, {"files": {"a": {"sha256": "x"}}},
        {"files": {"../a": {"sha256": "0" * 64}}}, {"files": {"/dev/zero": {"sha256": "0" * 64}}},
        {"files": {"a/../../b": {"sha256": "0" * 64}}}, {"files": {".": {"sha256": "0" * 64}}},
    ],
)  # fmt: skip
def test_a_manifest_must_have_the_sha256_of_files_of_the_model(tmp_path: Path, manifest: dict[str, Any]) -> None:
    (tmp_path / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match=r"manifest\.json: `files` must have the sha256"):
        open_files(tmp_path)


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname", "a/../../outside", "..", ""])
def test_only_files_inside_the_directory_are_read(tmp_path: Path, name: str) -> None:
    (tmp_path / "model" / "a").mkdir(parents=True)
    (tmp_path / "outside").write_text("secret")
    with pytest.raises(ArtifactError, match="is not inside the directory"):
        ModelFiles(tmp_path / "model").read(name)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "pytorch_model.bin.index.json"])
def test_pickled_weights_are_not_loaded(tmp_path: Path, name: str) -> None:
    (tmp_path / "config.json").write_text('{"id2label": {"0": "bad", "1": "good"}}')
    (tmp_path / name).write_bytes(b"pickle")
    with pytest.raises(ArtifactError, match=rf"{name} may contain code, so it is not loaded.*onnx_export"):
        choices("auto", "cpu", open_artifact(str(tmp_path)), has_torch=True, has_gpu=False)


def test_code_beside_the_weights_is_not_run(tmp_path: Path) -> None:
    checkpoint(tmp_path, "bert", pad_token_id=0)
    (tmp_path / "mine.py").write_text("raise SystemExit('the code was run')")
    config = json.loads((tmp_path / "config.json").read_text())
    mine = {"AutoConfig": "mine.Config", "AutoModelForSequenceClassification": "mine.Model"}
    (tmp_path / "config.json").write_text(json.dumps(config | {"auto_map": mine}))
    assert load_torch(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(config | {"auto_map": mine, "model_type": "mine"}))
    with pytest.raises(BackendError, match="transformers has no classifier of the type mine"):
        TorchBackend(open_artifact(str(tmp_path)))


def test_the_model_is_not_kept_in_memory_twice(model: Path) -> None:
    before = set(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names are what is compared
    backend = OnnxBackend(open_artifact(str(model)), slots=2)
    assert set(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
    for session in [session for each in backend._graphs for session in (each.narrow, each.wide)]:
        assert not getattr(session, "_model_bytes", None)
