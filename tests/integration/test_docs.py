"""What the documents say is run: the README's commands, the settings, the routes, the changelog."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from app import __version__
from app.config import Settings, profiles
from tests.support.process import ROOT, Server

README = (ROOT / "README.md").read_text()
ADDRESS = "http://127.0.0.1:8000"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


def examples() -> list[tuple[str, str]]:
    """Each command of the README's console blocks with the output that is shown below it."""
    found = []
    for block in blocks("console"):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            lines = part.replace("\\\n", " ").splitlines()
            found.append((lines[0], "\n".join(lines[1:]).strip()))
    return found


def close(shown: Any, found: Any) -> bool:
    """Equal, but for the last digits of numbers: processors differ in how they round."""
    if isinstance(shown, dict) and isinstance(found, dict):
        return shown.keys() == found.keys() and all(close(shown[key], found[key]) for key in shown)
    if isinstance(shown, list) and isinstance(found, list):
        return len(shown) == len(found) and all(map(close, shown, found))
    if isinstance(shown, float) and isinstance(found, float):
        return abs(shown - found) <= 0.02
    return bool(shown == found)


@pytest.mark.parametrize(("command", "shown"), examples())
def test_the_readmes_commands_print_what_it_shows(command: str, shown: str, server: Server) -> None:
    words = shlex.split(command.replace(ADDRESS, server.address))
    words[0] = {".venv/bin/rt-sentiment": str(Path(sys.executable).parent / "rt-sentiment")}.get(words[0], words[0])
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    for shown_line, line in zip(shown.splitlines(), done.stdout.splitlines(), strict=True):
        if shown_line.startswith("{"):
            assert close(json.loads(shown_line), json.loads(line)), line
        else:
            assert shown_line == line


def test_there_are_examples_to_run() -> None:
    commands = [command for command, _ in examples()]
    assert sum(command.startswith("curl") for command in commands) >= 3
    assert any("rt-sentiment predict" in command for command in commands)
    assert blocks("python")


@pytest.mark.parametrize("code", blocks("python"))
def test_the_readmes_python_runs(code: str, server: Server) -> None:
    subprocess.run([sys.executable, "-c", code.replace(ADDRESS, server.address)], cwd=ROOT, check=True)


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    documents = [README, *(file.read_text() for file in (ROOT / "docs").glob("*.md"))]
    named = {name for text in documents for name in re.findall(r"`?make ([a-z-]+)", text)}
    assert {"serve", "test"} <= named
    assert named <= targets | {"a"}, named - targets


def test_make_alone_lists_the_targets() -> None:
    shown = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in ("serve", "test", "lint", "check"):
        assert re.search(rf"^{target} ", shown, flags=re.MULTILINE)


def test_every_setting_is_documented_with_its_default() -> None:
    table = (ROOT / "docs" / "configuration.md").read_text()
    for name, field in Settings.model_fields.items():
        default = ",".join(field.default) if isinstance(field.default, tuple) else field.default
        shown = "" if default in (None, "") else f"`{default}`"
        assert f"| `SENTIMENT_{name.upper()}` | {shown} | {field.description} |" in table
    for name in profiles():
        assert f"SENTIMENT_PROFILE={name}" in table


def test_no_document_names_a_setting_that_does_not_exist() -> None:
    for file in [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")]:
        for name in re.findall(r"SENTIMENT_([A-Z_]+[A-Z])", file.read_text()):
            assert name.lower() in Settings.model_fields, f"{file.name}: SENTIMENT_{name}"


def test_every_route_is_in_the_readme(server: Server) -> None:
    with server.client() as http:
        for path, methods in http.get("/openapi.json").json()["paths"].items():
            for method in methods:
                assert f"`{method.upper()} {path}`" in README


def test_every_dependency_has_its_reason() -> None:
    reasons = (ROOT / "docs" / "dependencies.md").read_text()
    text = (ROOT / "pyproject.toml").read_text()
    section = text[text.index("dependencies = [") : text.index("[project.scripts]")]
    for name in re.findall(r'"([a-z][\w-]*)(?:\[[\w,]+\])?(?:[><=]|")', section):
        if name != "rt-sentiment" and not name.startswith("types-"):
            assert re.search(rf"^\| [^|]*(?<![\w-]){name}(?![\w-])", reasons, flags=re.MULTILINE), name


def test_links_between_documents_lead_somewhere() -> None:
    for file in [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), ROOT / "models" / "sentiment-en" / "MODEL_CARD.md"]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", file.read_text()):
            assert (file.parent / target).exists(), f"{file.name}: {target}"


def test_the_changelog_knows_the_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text()
    released = re.findall(r"^## \[(\d[^\]]*)\]", changelog, flags=re.MULTILINE)
    assert not released or released[0] == __version__
    assert "## [Unreleased]" in changelog


def test_the_model_card_has_the_figures_of_the_manifest() -> None:
    directory = ROOT / "models" / "sentiment-en"
    card = (directory / "MODEL_CARD.md").read_text()
    for name, figures in json.loads((directory / "manifest.json").read_text())["metrics"].items():
        row = f"{figures['fp32_accuracy']:.2f} | {figures['int8_accuracy']:.2f} | {figures['disagreement']:.2f}"
        assert re.search(rf"^\| {name} .*\| {re.escape(row)} \|", card, flags=re.MULTILINE), f"{name} | {row}"
