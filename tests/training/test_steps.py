"""What a step says when it cannot be done: one line of what its user gave it, a traceback of a slip of ours."""

import io
import json
import sys
from pathlib import Path

import pytest

from onnx_export import __main__ as exporter
from tests.support.tiny import tiny_classifier, tiny_encoder
from training.__main__ import main
from training.data import splices


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    (tmp_path / "encoder").mkdir()
    return tiny_encoder(tmp_path / "encoder")


def test_a_slip_keeps_its_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splices, "read_all", lambda _: list(zip([1], [], strict=True)))
    with pytest.raises(ValueError, match="shorter than argument 1"):
        main(["splices", "--data", "any.tsv", "--out", str(tmp_path / "out.jsonl")])
    monkeypatch.setattr(exporter, "read_all", lambda _: list(zip([1], [], strict=True)))
    with pytest.raises(ValueError, match="shorter than argument 1"):
        exporter.main(["any", "--out", str(tmp_path / "out")])


@pytest.mark.parametrize(
    ("content", "complaint"), [(b"epochs = ", "not valid TOML: Invalid value"), (b"\xff", "not valid TOML: 'utf-8'")]
)
def test_a_recipe_that_cannot_be_read_is_one_line(tmp_path: Path, content: bytes, complaint: str) -> None:
    (tmp_path / "recipe.toml").write_bytes(content)
    arguments = ["--data", "any.tsv", "--dev", "any.tsv", "--out", str(tmp_path / "run")]
    with pytest.raises(SystemExit, match=rf"^train: .*recipe\.toml: {complaint}"):
        main(["train", "any", *arguments, "--recipe", str(tmp_path / "recipe.toml")])


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("config.json", b"{", "config.json: not valid JSON: Expecting"),
        ("config.json", b"\xff", "config.json: not valid JSON: 'utf-8'"),
        ("config.json", b"[]", "config.json: not a JSON object"),
        ("config.json", b'{"model_type": "oracle"}', "model type `oracle`"),
        ("config.json", b"{}", "Unrecognized model"),
        ("tokenizer.json", b"{", "tokenizer.json cannot be read"),
        ("tokenizer_config.json", b"{", "tokenizer_config.json: not valid JSON"),
    ],
)
def test_a_checkpoint_that_cannot_be_read_is_one_line(
    encoder: Path, tmp_path: Path, name: str, content: bytes, complaint: str
) -> None:
    (encoder / name).write_bytes(content)
    with pytest.raises(SystemExit, match=f"^convert: .*{complaint}"):
        main(["convert", str(encoder), "--out", str(tmp_path / "out")])


def test_an_encoder_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"^convert: .*nowhere/tokenizer\.json cannot be read: No such file"):
        main(["convert", str(tmp_path / "nowhere"), "--out", str(tmp_path / "out")])


def test_a_model_that_cannot_be_exported_is_one_line(encoder: Path, tmp_path: Path) -> None:
    config = encoder / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"model_type": "oracle"}))
    with pytest.raises(SystemExit, match=r"^nothing was written: .*oracle"):
        exporter.main([str(encoder), "--out", str(tmp_path / "out")])


def test_a_model_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"^nothing was written: .*nowhere: no such directory"):
        exporter.main([str(tmp_path / "nowhere"), "--out", str(tmp_path / "out")])


def test_weights_that_are_cut_off_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    model = tiny_classifier(tmp_path / "model")
    weights = (model / "model.safetensors").read_bytes()
    (model / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(SystemExit, match=r"^nothing was written: .*classifier: "):
        exporter.main([str(model), "--out", str(tmp_path / "out")])
    (tmp_path / "rows.tsv").write_text("label\ttext\npositive\tgood\nnegative\tbad\n")
    (tmp_path / "dev.tsv").write_text("label\ttext\npositive\tnice\nnegative\tawful\n")
    rows, dev = str(tmp_path / "rows.tsv"), str(tmp_path / "dev.tsv")
    with pytest.raises(SystemExit, match=r"^train: .*classifier: "):
        main(["train", str(model), "--data", rows, "--dev", dev, "--out", str(tmp_path / "run")])
    with pytest.raises(SystemExit, match=r"^train: every text to train on is also in --dev"):
        main(["train", str(model), "--data", rows, "--dev", rows, "--out", str(tmp_path / "run")])


def test_a_step_whose_packages_are_not_installed_says_what_installs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    loaded = [name for name in sys.modules if name.startswith(("training.fit", "training.checkpoints"))]
    for module in loaded:
        monkeypatch.delitem(sys.modules, module, raising=False)
    with pytest.raises(SystemExit, match=r"^train: needs the package torch: make \.venv/dev\.stamp"):
        main(["train", "--help"])


def test_labelled_text_that_is_no_utf_8_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes(b'{"text": "\xff"}\n')
    with pytest.raises(SystemExit, match=r"^splices: .*rows\.jsonl: not UTF-8"):
        main(["splices", "--data", str(tmp_path / "rows.jsonl"), "--out", str(tmp_path / "out.jsonl")])


def test_a_server_of_something_else_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.evaluation.targets.urlopen", lambda *_, **__: io.BytesIO(b"<html>"))
    with pytest.raises(SystemExit, match=r"^evaluate: http://127\.0\.0\.1:1/info answered no JSON"):
        main(["evaluate", "http://127.0.0.1:1", "--data", "any.tsv"])
