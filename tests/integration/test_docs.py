"""What the documents say is run: the commands, the settings, the routes, the changelog."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from app import __version__
from app.api import schemas
from app.config import Settings, profiles
from tests.support.process import ROOT, Server

DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "models/sentiment-en/MODEL_CARD.md"])
README = (ROOT / "README.md").read_text()
API = (ROOT / "docs" / "api.md").read_text()
ADDRESS = "http://127.0.0.1:8000"


def blocks(language: str, text: str = README + API) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def code(text: str) -> str:
    """The fenced blocks and the inline code of a document, each command at the beginning of a line."""
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return "\n".join([*blocks(r"\w*", text), *re.findall(r"`([^`]+)`", prose)])


def examples() -> list[tuple[str, str]]:
    """Each command of the console blocks with the output that is shown below it."""
    pairs = []
    for block in blocks("console"):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            lines = part.replace("\\\n", " ").splitlines()
            pairs.append((lines[0], "\n".join(lines[1:]).strip()))
    return pairs


def close(shown: Any, actual: Any) -> bool:
    """Equal, except for the last digits of numbers: processors round differently."""
    if isinstance(shown, dict) and isinstance(actual, dict):
        return shown.keys() == actual.keys() and all(close(shown[key], actual[key]) for key in shown)
    if isinstance(shown, list) and isinstance(actual, list):
        return len(shown) == len(actual) and all(map(close, shown, actual))
    if isinstance(shown, float) and isinstance(actual, float):
        return abs(shown - actual) <= 0.02
    return bool(shown == actual)


@pytest.mark.parametrize(("command", "shown"), examples())
def test_documented_commands_print_the_documented_output(command: str, shown: str, server: Server) -> None:
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
    assert sum(command.startswith("curl") for command in commands) >= 4
    assert any("rt-sentiment predict" in command for command in commands)
    assert any(command.startswith("curl") for command in README.split("$ ")[1:2])  # on the first screen
    assert any("rt_sentiment" in block for block in blocks("python", README))
    assert blocks("python", API)


@pytest.mark.parametrize("program", blocks("python"))
def test_documented_python_runs(program: str, server: Server) -> None:
    subprocess.run([sys.executable, "-c", program.replace(ADDRESS, server.address)], cwd=ROOT, check=True)


def test_the_readme_stays_short() -> None:
    assert len(README.splitlines()) < 150


def test_every_named_make_target_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    for file in DOCUMENTS:
        named = set(re.findall(r"(?:^|\s)make ([a-z-]+)", code(file.read_text())))
        assert named <= targets, f"{file.name}: {named - targets}"
        if file.name == "README.md":
            assert {"serve", "test"} <= named


def test_make_alone_lists_the_targets() -> None:
    shown = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in ("serve", "test", "lint", "check"):
        assert re.search(rf"^{target} ", shown, flags=re.MULTILINE)


def test_every_setting_is_documented_with_its_default() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text()
    for name, field in Settings.model_fields.items():
        default = ",".join(field.default) if isinstance(field.default, tuple) else field.default
        shown = "" if default in (None, "") else f"`{default}`"
        row = f"| `SENTIMENT_{name.upper()}` | {shown} | {field.description} |"
        assert page.count(row) == 1, row
    assert page.count("\n| `SENTIMENT_") == len(Settings.model_fields)
    for name in profiles():
        assert f"SENTIMENT_PROFILE={name}" in page


@pytest.mark.parametrize("file", DOCUMENTS, ids=lambda file: file.name)
def test_no_document_names_a_setting_that_does_not_exist(file: Path) -> None:
    for name in re.findall(r"(?<!RT_)SENTIMENT_([A-Z_]+[A-Z])", file.read_text()):
        assert name.lower() in Settings.model_fields, f"SENTIMENT_{name}"


def test_every_route_is_in_the_readme_and_the_api_page(server: Server) -> None:
    with server.client() as http:
        for path, methods in http.get("/openapi.json").json()["paths"].items():
            for method in methods:
                assert f"`{method.upper()} {path}`" in README
                assert f"| `{method.upper()} {path}` |" in API


def test_the_api_page_agrees_with_the_openapi_document(server: Server) -> None:
    with server.client() as http:
        operation = http.get("/openapi.json").json()["paths"]["/predict"]["post"]
    errors = API[API.index("\n## Errors") : API.index("\n## Limits")]
    listed = {int(status) for row in re.findall(r"^\| ([\d, ]+) \|", errors, re.MULTILINE) for status in row.split(",")}
    assert listed == {int(status) for status in operation["responses"]} - {200} | {404, 405}
    headers = {parameter["name"] for parameter in operation["parameters"]} | set(
        operation["responses"]["200"]["headers"]
    )
    for name in headers:
        assert f"| `{name}` |" in API
    for name in [*schemas.Options.model_fields, *schemas.PredictResponse.model_fields]:
        assert f"| `{name}` |" in API


def test_the_audit_log_names_events_that_are_logged() -> None:
    security = (ROOT / "SECURITY.md").read_text()
    table = security[security.index("## Audit log") : security.index("## Known limits")]
    source = "".join(file.read_text() for file in (ROOT / "app").rglob("*.py"))
    events = [
        event for cell in re.findall(r"^\| (`[^|]+) \|", table, re.MULTILINE) for event in re.findall(r"`(.+?)`", cell)
    ]
    assert len(events) >= 7
    for event in events:
        assert f'"{event}"' in source, event


def test_every_dependency_has_its_reason() -> None:
    reasons = (ROOT / "docs" / "dependencies.md").read_text()
    text = (ROOT / "pyproject.toml").read_text()
    section = text[text.index("dependencies = [") : text.index("[project.scripts]")]
    for name in re.findall(r'"([a-z][\w-]*)(?:\[[\w,]+\])?(?:[><=]|")', section):
        if name != "rt-sentiment" and not name.startswith("types-"):
            assert re.search(rf"^\| [^|]*(?<![\w-]){name}(?![\w-])", reasons, flags=re.MULTILINE), name


@pytest.mark.parametrize("file", DOCUMENTS, ids=lambda file: file.name)
def test_links_and_named_files_exist(file: Path) -> None:
    text = file.read_text()
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)", text):
        linked = file.parent / target if target else file
        assert linked.exists(), target
        if anchor and linked.suffix == ".md":
            assert anchor in anchors(linked.read_text()), f"{target}#{anchor}"
    for named in re.findall(r"`((?:app|tests|training|onnx_export|perf|nginx|deploy)/[\w/-]+\.(?:py|sh|yml))", text):
        assert (ROOT / named).exists(), named


def anchors(text: str) -> set[str]:
    """The anchors that GitHub gives to the headings of a document."""
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_changelog_has_the_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text()
    versions = re.findall(r"^## \[([^\]]+)\](.*)$", changelog, flags=re.MULTILINE)
    assert versions[0] == ("Unreleased", "")
    assert versions[1][0] == __version__
    for _, date in versions[1:]:
        assert re.fullmatch(r" - \d{4}-\d\d-\d\d", date)
    kinds = set(re.findall(r"^### (.+)$", changelog, flags=re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_the_model_card_has_the_figures_of_the_manifest() -> None:
    directory = ROOT / "models" / "sentiment-en"
    card = (directory / "MODEL_CARD.md").read_text()
    for name, figures in json.loads((directory / "manifest.json").read_text())["metrics"]["parity"].items():
        row = f"{figures['fp32_accuracy']:.2f} | {figures['int8_accuracy']:.2f} | {figures['disagreement']:.2f}"
        assert re.search(rf"^\| {name} .*\| {re.escape(row)} \|", card, flags=re.MULTILINE), f"{name} | {row}"
