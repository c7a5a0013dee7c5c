"""What the documents say is run: the commands, the settings, the routes, the changelog."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from app import __version__
from app.api import schemas
from app.config import Settings, profiles
from docs.site import settings
from tests.support.documents import ALL_BLOCKS, DOCUMENTS, blocks
from tests.support.process import ROOT, Server

README = (ROOT / "README.md").read_text()
API = (ROOT / "docs" / "api.md").read_text()


def code(file: Path) -> str:
    """The fenced blocks and the inline code of a document, each command at the beginning of a line."""
    prose = re.sub(r"^```.*?^```$", "", file.read_text(), flags=re.MULTILINE | re.DOTALL)
    return "\n".join([*(block.text for block in blocks(file)), *re.findall(r"`([^`]+)`", prose)])


def test_the_readme_shows_what_matters_first() -> None:
    shown = [block for block in ALL_BLOCKS if block.place.startswith("README.md:")]
    commands = [line for block in shown if block.language == "console" for line in block.text.splitlines()]
    assert commands[0].startswith("$ curl")
    assert any("rt-sentiment predict" in command for command in commands)
    assert any("rt_sentiment" in block.text for block in shown if block.language == "python")


def test_the_readme_stays_short() -> None:
    assert len(README.splitlines()) < 150


def test_every_named_make_target_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    for file in DOCUMENTS:
        named = set(re.findall(r"(?:^|\s)make ([a-z-]+)", code(file)))
        assert named <= targets, f"{file.name}: {named - targets}"
        if file == ROOT / "README.md":
            assert {"serve", "test"} <= named


def test_make_alone_lists_the_targets() -> None:
    shown = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in ("serve", "test", "lint", "check"):
        assert re.search(rf"^{target} ", shown, flags=re.MULTILINE)


def test_the_tables_of_settings_are_those_of_the_code() -> None:
    page = settings.PAGE.read_text()
    assert settings.render(page) == page, "run `make settings`"
    assert "| `SENTIMENT_WORKERS` | `1` | at least 1, at most 256 | worker processes, each with" in page
    assert "| `SENTIMENT_COMPARE_BACKENDS` | `false` | `true`, `false` | with backend auto: " in page
    for name in profiles():
        assert f"SENTIMENT_PROFILE={name}" in page


def test_a_setting_without_a_row_is_named() -> None:
    page = settings.PAGE.read_text()
    with pytest.raises(ValueError, match="SENTIMENT_PORT has no row"):
        settings.render(page.replace("| `SENTIMENT_PORT` |", "| `port` |"))
    with pytest.raises(ValueError, match="SENTIMENT_PROT is not a setting"):
        settings.render(page + "| `SENTIMENT_PROT` |\n")


@pytest.mark.parametrize("file", DOCUMENTS, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_document_names_a_setting_that_does_not_exist(file: Path) -> None:
    for name in re.findall(r"(?<!RT_)SENTIMENT_([A-Z0-9_]+[A-Z0-9])", file.read_text()):
        assert name.lower() in Settings.model_fields, f"SENTIMENT_{name}"


def test_every_route_is_in_the_readme_and_the_api_page(server: Server) -> None:
    with server.client() as http:
        routes = [
            (method.upper(), path)
            for path, methods in http.get("/openapi.json").json()["paths"].items()
            for method in methods
        ]
    protocols = (ROOT / "docs" / "protocols.md").read_text()
    for method, path in routes:
        if path.startswith("/v2"):
            assert f"| `{method} {path.replace('/versions/{version}', '')}` |" in protocols
        else:
            assert f"`{method} {path}`" in README or path.startswith("/jobs")
            assert f"| `{method} {path}` |" in API
    assert "[`/jobs` and below]" in README


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


@pytest.mark.parametrize("file", DOCUMENTS, ids=lambda file: str(file.relative_to(ROOT)))
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


def test_every_document_is_in_the_navigation_of_the_site() -> None:
    index = ROOT / "docs" / "index.md"
    targets = re.findall(r"^- \[.+?\]\((.+?)\)", index.read_text(), flags=re.MULTILINE)
    linked = {(index.parent / target).resolve() for target in targets}
    assert linked == {*DOCUMENTS} - {index, ROOT / "README.md"}


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
