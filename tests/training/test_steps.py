"""Bad input ends a step with one line; a bug ends it with a traceback."""

import io
import json
import sys
from pathlib import Path

import pytest

from onnx_export import __main__ as exporter
from tests.support.tiny import tiny_classifier, tiny_encoder
from training.__main__ import STEPS, main
from training.data import splices


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    (tmp_path / "encoder").mkdir()
    return tiny_encoder(tmp_path / "encoder")


def test_a_bug_keeps_its_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splices, "read_all", lambda _: list(zip([1], [], strict=True)))
    with pytest.raises(ValueError, match="shorter than argument 1"):
        main(["splices", "--data", "any.tsv", "--out", str(tmp_path / "out.jsonl")])
    monkeypatch.setattr(exporter, "read_tables", lambda *_: list(zip([1], [], strict=True)))
    with pytest.raises(ValueError, match="shorter than argument 1"):
        exporter.main(["any", "--dev", "any.tsv", "--out", str(tmp_path / "out")])


def test_a_wrong_mapping_is_explained_with_the_name_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["all", "a.csv", "--map", "1=bad,2=good"])
    said = capsys.readouterr().err
    assert said.startswith("usage: rt-sentiment train ")
    assert said.endswith("error: argument --map: the mapping '1=bad,2=good': expected THEIRS:OURS, not 1=bad\n")


@pytest.mark.parametrize(
    ("content", "complaint"), [(b"epochs = ", "not valid TOML: Invalid value"), (b"\xff", "not valid TOML: 'utf-8'")]
)
def test_an_unreadable_recipe_is_reported_in_one_line(tmp_path: Path, content: bytes, complaint: str) -> None:
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
def test_an_unreadable_checkpoint_is_reported_in_one_line(
    encoder: Path, tmp_path: Path, name: str, content: bytes, complaint: str
) -> None:
    (encoder / name).write_bytes(content)
    with pytest.raises(SystemExit, match=f"^convert: .*{complaint}"):
        main(["convert", str(encoder), "--out", str(tmp_path / "out")])


def test_a_missing_encoder_is_reported_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"^convert: .*nowhere/tokenizer\.json cannot be read: No such file"):
        main(["convert", str(tmp_path / "nowhere"), "--out", str(tmp_path / "out")])


def test_an_unknown_model_type_is_reported_in_one_line(encoder: Path, tmp_path: Path) -> None:
    config = encoder / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"model_type": "oracle"}))
    with pytest.raises(SystemExit, match=r"^nothing was written: .*oracle"):
        exporter.main([str(encoder), "--out", str(tmp_path / "out")])


def test_a_missing_model_is_reported_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"^nothing was written: .*nowhere: no such directory"):
        exporter.main([str(tmp_path / "nowhere"), "--out", str(tmp_path / "out")])


def test_truncated_weights_are_reported_in_one_line(tmp_path: Path) -> None:
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
    with pytest.raises(SystemExit, match=r"^train: every text in --data is also in --dev"):
        main(["train", str(model), "--data", rows, "--dev", rows, "--out", str(tmp_path / "run")])


def test_a_missing_package_is_reported_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    loaded = [name for name in sys.modules if name.startswith(("training.fit", "training.checkpoints"))]
    for module in loaded:
        monkeypatch.delitem(sys.modules, module, raising=False)
    with pytest.raises(SystemExit, match=r"^train: the package torch is missing; run `make \.venv/dev\.stamp`"):
        main(["train", "--help"])


def test_text_that_is_not_utf_8_is_reported_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes(b'{"text": "\xff", "label": "x"}\n')
    with pytest.raises(SystemExit, match=r"^splices: .*rows\.jsonl, line 1: not valid UTF-8"):
        main(["splices", "--data", str(tmp_path / "rows.jsonl"), "--out", str(tmp_path / "out.jsonl")])


def test_another_kind_of_server_is_reported_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.evaluation.targets.urlopen", lambda *_, **__: io.BytesIO(b"<html>"))
    with pytest.raises(SystemExit, match=r"^evaluate: http://127\.0\.0\.1:1/info did not return JSON"):
        main(["evaluate", "http://127.0.0.1:1", "--data", "any.tsv"])


def test_an_interrupted_step_exits_with_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(_: object) -> None:
        raise KeyboardInterrupt("stopped at step 7 of 9; run the same command again to resume")

    monkeypatch.setattr(splices, "main", stop)
    with pytest.raises(SystemExit) as stopped:
        main(["splices", "--data", "any.tsv", "--out", "out.jsonl"])
    assert stopped.value.code == 130
    assert capsys.readouterr().err == "splices: stopped at step 7 of 9; run the same command again to resume\n"


@pytest.mark.parametrize("part", ["importlib.import_module", "training.__main__._run"])
def test_ctrl_c_at_any_time_says_how_to_go_on(
    part: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(part, stop)
    with pytest.raises(SystemExit) as stopped:
        main(["all", "rows.csv"])
    assert stopped.value.code == 130
    assert capsys.readouterr().err == "rt-sentiment train: interrupted; run the same command to go on\n"


def test_help_lists_the_steps_in_the_order_of_use(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    steps = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
    assert steps == [*STEPS]
    assert steps.index("report") < steps.index("split") < steps.index("train")
    assert steps.index("train") < steps.index("calibrate") < steps.index("evaluate")
