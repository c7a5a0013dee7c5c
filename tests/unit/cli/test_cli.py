import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from app.cli import main
from app.config import Settings
from tests.support.process import ROOT


def run(*args: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(args)
    return int(caught.value.code or 0)


def test_predict_prints_one_json_object_per_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("predict", "I love it", "I hate it") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["label"] for line in lines] == ["positive", "negative"]
    assert all(sum(line["scores"].values()) == pytest.approx(1, abs=1e-3) for line in lines)


def test_predict_reads_standard_input_without_arguments(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("so good\nso bad\n"))
    assert run("predict", "--backend", "mock") == 0
    assert [json.loads(line)["label"] for line in capsys.readouterr().out.splitlines()] == ["positive", "negative"]


def test_predict_continues_after_a_text_that_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("predict", "--backend", "mock", "good", " ", "[fail]", "bad") == 1
    captured = capsys.readouterr()
    results = [json.loads(line) for line in captured.out.splitlines()]
    assert [result.get("label") for result in results] == ["positive", None, None, "negative"]
    assert [result["error"]["status"] for result in results[1:3]] == [422, 500]
    assert results[1] == {"error": {"status": 422, "detail": "the text has no visible character"}}
    assert "text 2: the text has no visible character" in captured.err
    assert "text 3: the model failed" in captured.err


def test_predict_truncates_a_long_text_or_reads_it_in_windows(capsys: pytest.CaptureFixture[str]) -> None:
    text = "good " * 600 + "bad " * 1200
    for option, label in (("truncate", "positive"), ("window", "negative")):
        assert run("predict", "--backend", "mock", "--long-text", option, text, "good") == 0
        assert [json.loads(line)["label"] for line in capsys.readouterr().out.splitlines()] == [label, "positive"]
    assert run("predict", "--backend", "mock", "--long-text", "window", f"{text} [fail]") == 1
    assert "the model failed" in capsys.readouterr().err


def test_predict_reports_truncated_texts(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("predict", "--backend", "mock", "good " * 600, "good") == 0
    assert [json.loads(line)["truncated"] for line in capsys.readouterr().out.splitlines()] == [True, False]


def test_a_missing_model_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("predict", "--model", "nowhere", "good") == 1
    assert "no such model: nowhere" in capsys.readouterr().err


def test_a_wrong_flag_names_the_setting(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("serve", "--port", "none") == 2
    assert "SENTIMENT_PORT" in capsys.readouterr().err


def test_a_boolean_flag_needs_no_value(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("serve", "--compare-backends", "--backend", "onnx") == 2
    assert "COMPARE_BACKENDS needs BACKEND=auto" in capsys.readouterr().err
    assert run("serve", "--compare-backends", "perhaps") == 2
    assert "SENTIMENT_COMPARE_BACKENDS: " in capsys.readouterr().err


def test_help_lists_every_setting_with_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("serve", "--help") == 0
    shown = " ".join(capsys.readouterr().out.split())
    for name in Settings.model_fields:
        assert f"--{name.replace('_', '-')} " in shown
        assert f"[SENTIMENT_{name.upper()}=" in shown
    assert "--backend BACKEND" in shown
    assert "--profile dev|prod" in shown


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    assert capsys.readouterr().out.startswith("rt-sentiment ")


def test_the_parser_imports_no_command() -> None:
    code = "import sys, app.cli; print({'pydantic', 'numpy', 'asyncio'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("command", ["score", "evaluate", "bench", "capacity", "doctor", "models"])
def test_the_help_of_a_command_needs_no_model(command: str) -> None:
    heavy = {"numpy", "onnxruntime", "tokenizers", "fastapi", "rich", "pyarrow", "http.client"}
    code = f"import sys; from app.cli.commands import load; load({command!r}); print({heavy} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_an_unknown_command_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("sevre") == 2
    assert "No such command 'sevre'" in capsys.readouterr().err


def test_key_prints_a_key_and_refuses_a_name_twice(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "keys.yaml"
    assert run("key", str(file), "web") == 0
    assert capsys.readouterr().out.startswith("rts_")
    assert run("key", str(file), "web") == 1
    assert "already has a key for web" in capsys.readouterr().err


def test_key_names_a_file_that_cannot_be_written(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run("key", str(tmp_path / "none" / "keys.yaml"), "web") == 1
    assert "No such file" in capsys.readouterr().err
