"""`rt-sentiment models verify`: each check, and what it says when it fails."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.artifacts import sign
from app.cli.exits import Failure
from app.cli.models import checks
from app.cli.models.checks import NAMES, Verification
from app.cli.models.verify import verify
from app.config import Settings, load_settings
from app.errors import ArtifactError
from app.inference import GoldenText, Model, load_model
from app.inference.golden import render_golden
from tests.support.artifacts import key_pair, web_server, write_manifest
from tests.support.checkpoints import BERT, save_tokenizer
from tests.support.graphs import graph


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENTIMENT_MODELS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SENTIMENT_SLOTS", "1")
    monkeypatch.setenv("SENTIMENT_DEVICE", "cpu")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    directory = tmp_path / "model"
    directory.mkdir()
    (directory / "config.json").write_text('{"id2label": {"0": "bad", "1": "good"}}')
    save_tokenizer(directory, BERT)
    graph(directory / "model.onnx")
    write_manifest(directory, format=1, requires=">=0.1", version="7")
    return directory


def run(*args: str | Path) -> int:
    return int(verify.main([str(arg) for arg in args], "verify", standalone_mode=False))


def results(capsys: pytest.CaptureFixture[str], *args: str | Path) -> dict[str, tuple[str, str]]:
    status = run(*args, "--json")
    printed = json.loads(capsys.readouterr().out)
    assert [check["name"] for check in printed["checks"]] == list(NAMES)
    assert printed["passed"] is (status == 0)
    assert printed["model"] == str(args[0])
    return {check["name"]: (check["result"], check["detail"]) for check in printed["checks"]}


def failed(found: dict[str, tuple[str, str]]) -> dict[str, str]:
    return {name: detail for name, (result, detail) in found.items() if result == "failed"}


def test_a_good_model_passes_every_check(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = results(capsys, model)
    assert {name: result for name, (result, _) in found.items()} == {
        "found": "passed",
        "manifest": "passed",
        "signature": "skipped",
        "checksums": "passed",
        "format": "passed",
        "labels": "passed",
        "memory": "passed",
        "loads": "passed",
        "golden texts": "passed",
    }
    assert found["found"][1] == str(model)
    assert re.fullmatch(r"\d files, sha256:[0-9a-f]{64}", found["manifest"][1])
    assert found["signature"][1] == "not signed; no key is given to verify it with"
    assert re.fullmatch(r"those of all \d files match", found["checksums"][1])
    assert found["format"][1] == "onnx; version 7, requires rt-sentiment >=0.1"
    assert found["labels"][1] == "bad, good; reads 512 tokens"
    assert re.fullmatch(r"about 2\d MB of [\d,]+ MB", found["memory"][1])
    assert re.fullmatch(r"onnx fp32 on cpu, loaded and warmed up in \d+\.\d s", found["loads"][1])
    assert found["golden texts"][1] == "it has none"


def test_people_get_a_table(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(model) == 0
    lines = capsys.readouterr().out.strip().splitlines()
    assert lines[0].split() == ["check", "result", "detail"]
    assert [line.split()[0] for line in lines[2:] if line.strip()] == [name.split()[0] for name in NAMES]
    (model / "model.onnx").write_bytes(b"[other]")
    assert run(model) == 1
    assert "failed" in capsys.readouterr().out


def test_the_embedded_model_passes(capsys: pytest.CaptureFixture[str]) -> None:
    found = results(capsys, "sentiment-en")
    assert failed(found) == {}
    assert found["labels"][1] == "negative, neutral, positive; reads 512 tokens"
    assert re.fullmatch(
        r"48 of 48 \(100%\) get the published answer; the largest difference of a score is 0\.\d{4}",
        found["golden texts"][1],
    )


def test_a_model_is_fetched_from_its_address(model: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with web_server(model) as (address, _):
        found = results(capsys, address)
    assert failed(found) == {}
    assert Path(found["found"][1]).parent == tmp_path / "cache"


def test_a_signed_model_is_verified(model: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    private, public = key_pair(tmp_path)
    other = key_pair(tmp_path, "other")[1]
    sign(model, private)
    assert results(capsys, model)["signature"] == ("skipped", "signed; no key is given to verify it with")
    assert results(capsys, model, "--keys", public)["signature"] == ("passed", "made with the given key")
    found = results(capsys, model, "--keys", other, "--keys", public)
    assert found["signature"] == ("passed", "made with one of 2 keys")
    assert failed(found) == {}


def test_the_keys_of_the_settings_count(
    model: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SENTIMENT_MODELS_KEYS", str(key_pair(tmp_path)[1]))
    found = results(capsys, model)
    assert list(failed(found)) == ["signature"]
    assert "model is not signed, and SENTIMENT_MODELS_KEYS requires it" in found["signature"][1]
    assert found["loads"] == ("skipped", "an earlier check failed")


def damage(model: Path) -> None:
    (model / "model.onnx").write_bytes(b"other")


def upgrade(model: Path) -> None:
    write_manifest(model, format=99)


def unlabel(model: Path) -> None:
    (model / "config.json").write_text('{"id2label": {"0": "stars"}}')
    write_manifest(model)


def break_graph(model: Path) -> None:
    damage(model)
    write_manifest(model)


def strip(model: Path) -> None:
    (model / "model.onnx").unlink()
    write_manifest(model)


def break_manifest(model: Path) -> None:
    (model / "manifest.json").write_text("{")


@pytest.mark.parametrize(
    ("change", "name", "message"),
    [
        (damage, "checksums", r"model\.onnx: checksum differs from manifest\.json"),
        (upgrade, "format", "its format is 99, and .*; upgrade rt-sentiment"),
        (unlabel, "format", "fewer than two labels, like a regression"),
        (break_graph, "loads", r"model\.onnx: ONNX Runtime cannot load it"),
        (strip, "memory", "no weights; looked for"),
        (break_manifest, "manifest", "not valid JSON"),
    ],
)
def test_each_fault_fails_its_own_check(
    model: Path, capsys: pytest.CaptureFixture[str], change: Callable[[Path], None], name: str, message: str
) -> None:
    change(model)
    found = results(capsys, model)
    assert list(failed(found)) == [name]
    assert re.search(message, failed(found)[name])


def test_a_model_that_does_not_exist_fails_the_first_check(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    found = results(capsys, "./missing")
    assert failed(found).keys() == {"found"}
    assert {result for result, _ in found.values()} == {"failed", "skipped"}
    assert "manifest.json" in failed(results(capsys, f"file://{tmp_path}"))["found"]


def test_a_model_without_a_manifest_can_be_checked(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (model / "manifest.json").unlink()
    found = results(capsys, model)
    assert found["manifest"] == ("skipped", "no manifest.json")
    assert found["checksums"] == ("skipped", "there are none; `python -m onnx_export` writes them")
    assert found["format"] == ("passed", "onnx; version unversioned")
    assert failed(found) == {}


def test_too_little_memory_is_named_with_the_figures(
    model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SENTIMENT_MEMORY_LIMIT_BYTES", "10000000")
    found = results(capsys, model)
    assert list(failed(found)) == ["memory"]
    assert re.match("model needs about 2. MB, and 0 MB of 10 MB are left; stop serving", found["memory"][1])


def test_other_answers_to_golden_texts_fail(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (answer,) = load_model(str(model), backend="onnx", device="cpu", slots=1).predict(["a"])
    other = next(label for label in answer.scores if label != answer.label)
    texts = [GoldenText("a", answer.label, answer.confidence), GoldenText("a", other, answer.scores[other])]
    (model / "golden.jsonl").write_text(render_golden(texts))
    write_manifest(model)
    found = results(capsys, model)
    assert failed(found) == {
        "golden texts": "1 of 2 (50%) get the published answer; 90% are needed (SENTIMENT_GOLDEN_AGREEMENT)"
    }


def test_golden_texts_are_compared_by_what_is_given(model: Path) -> None:
    settings: Settings = load_settings()

    def agree(loaded: Model) -> str:
        return f"{len(loaded.artifact.labels)} of 2 texts"

    def differ(_loaded: Model) -> str:
        raise ArtifactError("1 of 2 texts")

    assert Verification(settings, golden=agree).run(str(model))[-1].detail == "2 of 2 texts"
    last = Verification(settings, golden=differ).run(str(model))[-1]
    assert (last.name, last.result, last.detail) == ("golden texts", "failed", "1 of 2 texts")


def test_a_wrong_setting_is_a_wrong_usage(model: Path) -> None:
    with pytest.raises(Failure, match="SENTIMENT_PRECISION") as caught:
        run(model, "--precision", "int3")
    assert caught.value.status == 2


def test_the_model_is_not_in_use_after_the_checks(
    model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    released: list[Any] = []
    monkeypatch.setattr(checks.ArtifactStore, "release", lambda _self, folder: released.append(folder))
    results(capsys, f"file://{model}")
    assert len(released) == 1
