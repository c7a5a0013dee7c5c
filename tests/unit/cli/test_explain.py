"""`rt-sentiment predict --explain`."""

import io
import json
import re
import sys
from collections.abc import Callable

import pytest

from tests.support.command import run

TEXT = "Lovely staff, cold room."
STYLE = re.compile(r"\x1b\[([\d;]+)m(.*?)\x1b\[0m")


@pytest.fixture
def run_on_terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Runs a command whose standard output passes for a terminal with colours."""

    def run_there(*args: str, **environment: str) -> int:
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM"):
            monkeypatch.delenv(name, raising=False)
        for name, value in {"TERM": "xterm-256color", **environment}.items():
            monkeypatch.setenv(name, value)
        return run(*args)

    return run_there


def styles(capsys: pytest.CaptureFixture[str]) -> dict[str, str]:
    """Return the styles of what was printed: 32 is green, 31 is red, 1 is bold."""
    return {text: style for style, text in STYLE.findall(capsys.readouterr().out)}


def test_elsewhere_the_weights_are_in_the_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("predict", "--explain", TEXT) == 0
    result = json.loads(capsys.readouterr().out)
    weights = {TEXT[word["start"] : word["end"]]: word["weight"] for word in result["explanation"]}
    assert list(weights) == ["Lovely", "staff", "cold", "room"]
    assert weights["Lovely"] > 0 > weights["cold"]
    assert result["label"] == "positive"


def test_on_a_terminal_words_are_coloured(
    capsys: pytest.CaptureFixture[str], run_on_terminal: Callable[..., int]
) -> None:
    assert run_on_terminal("predict", "--explain", TEXT) == 0
    shown = styles(capsys)
    assert (shown["Lovely"], shown["cold"]) == ("1;32", "31")
    assert any("positive" in text for text in shown)
    assert any(re.fullmatch(r"against: cold -\d\.\d\d", text) for text in shown)


def test_no_color_is_honoured(capsys: pytest.CaptureFixture[str], run_on_terminal: Callable[..., int]) -> None:
    assert run_on_terminal("predict", "--explain", TEXT, NO_COLOR="1") == 0
    shown = styles(capsys)
    assert not any("3" in style for style in shown.values())
    assert any(text.startswith("for: Lovely +") for text in shown)


def test_a_terminal_gets_json_if_it_is_asked_for(
    capsys: pytest.CaptureFixture[str], run_on_terminal: Callable[..., int]
) -> None:
    assert run_on_terminal("predict", "--explain", "--json", TEXT) == 0
    assert json.loads(capsys.readouterr().out)["explanation"]


def test_a_text_cannot_control_the_terminal(
    capsys: pytest.CaptureFixture[str], run_on_terminal: Callable[..., int]
) -> None:
    assert (
        run_on_terminal("predict", "--backend", "mock", "--explain", "a \x1b[2J[red]good[/red]\x07\u202e \x9b3m") == 0
    )
    output = capsys.readouterr().out
    assert "\x1b[2J" not in output
    assert not {"\x07", "\x9b", "\u202e"} & {*output}
    assert "[red]" in output


def test_a_prediction_without_a_label_is_explained_for_the_most_likely_one(
    capsys: pytest.CaptureFixture[str], run_on_terminal: Callable[..., int]
) -> None:
    assert run_on_terminal("predict", "--backend", "mock", "--explain", "--abstain-below", "0.99", "good") == 0
    assert "no label, most likely positive 0.6652" in capsys.readouterr().out


def test_a_text_that_cannot_be_explained_has_its_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{'x' * 2001}\n \ngood\n"))
    assert run("predict", "--backend", "mock", "--explain") == 1
    results = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [result["error"]["status"] for result in results[:2]] == [413, 422]
    assert results[2]["explanation"][0]["end"] == 4
