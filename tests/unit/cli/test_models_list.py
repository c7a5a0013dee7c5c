"""`rt-sentiment models list` and `log`, and what the shell completes."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import click
import pytest
from click.shell_completion import ShellComplete

from app.cli.commands import program
from app.cli.models import live, models
from tests.support.catalog import write_artifact
from tests.support.command import run

FILE = """\
models:
  m:
    versions:
      - {path: models/old, weight: 97.5}
      - {hub: owner/name@v1, weight: 2.5}
      - {path: models/gone, shadow: true}
  n:
    versions: [{path: models/old}]
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_artifact(tmp_path / "models" / "old", name="2026.11")
    file = tmp_path / "models.yaml"
    file.write_text(FILE)
    monkeypatch.setenv("SENTIMENT_MODELS_FILE", str(file))
    return file


def rows(shown: str) -> list[list[str]]:
    """The cells of a table, without its head."""
    return [line.split() for line in shown.splitlines() if line.strip()][2:]


@pytest.mark.usefixtures("file")
def test_list_shows_what_the_file_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("models", "list") == 0
    assert rows(capsys.readouterr().out) == [
        ["m", "(default)", "2026.11", "97.5", "models/old"],
        ["m", "(default)", "2.5", "owner/name@v1"],
        ["m", "(default)", "shadow", "models/gone"],
        ["n", "2026.11", "100", "models/old"],
    ]


def test_list_prints_json(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checksum = write_artifact(file.parent / "copy", name="2026.11")
    assert run("models", "list", "--json") == 0
    first, second = json.loads(capsys.readouterr().out)["models"]
    assert (first["name"], first["default"], second["default"]) == ("m", True, False)
    old = {"version": "2026.11", "source": "models/old", "weight": 97.5, "shadow": False, "checksum": checksum}
    assert first["versions"][0] == old
    gone = {"version": None, "source": "models/gone", "weight": 0, "shadow": True, "checksum": None}
    assert first["versions"][2] == gone


def test_the_log_shows_the_newest_change_first(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("models", "promote", "m", "old", "--as", "anna") == 0
    assert run("models", "add", "n", "owner/name@v2", "--weight", "50", "--as", "ben") == 0
    capsys.readouterr()
    assert run("models", "log", "--json") == 0
    newest, oldest = json.loads(capsys.readouterr().out)
    assert (newest["who"], oldest["who"]) == ("ben", "anna")
    assert run("models", "log") == 0
    (first, second) = rows(capsys.readouterr().out)
    assert first[2:] == [
        "ben",
        "add",
        "n",
        "owner/name@v2",
        "models/old",
        "100",
        "->",
        "models/old",
        "50,",
        "owner/name@v2",
        "50",
    ]
    assert second[2:-1] == "anna promote m models/old models/old 97.5, owner/name@v1 2.5 -> models/old 100".split()
    assert second[-1].startswith("sha256:")
    assert len(second[-1]) == len("sha256:") + 12
    assert run("models", "log", "m", "--json") == 0
    assert [line["model"] for line in json.loads(capsys.readouterr().out)] == ["m"]
    assert run("models", "log", "--limit", "1", "--json") == 0
    assert [line["model"] for line in json.loads(capsys.readouterr().out)] == ["n"]


@pytest.mark.usefixtures("file")
def test_a_log_of_an_unknown_model_says_which_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("models", "log", "nobody") == 1
    assert capsys.readouterr().err == "rt-sentiment: there is no model nobody; there is m, n\n"
    assert run("models", "log", "n", "--json") == 0  # without changes so far
    assert json.loads(capsys.readouterr().out) == []


def test_a_model_that_had_no_versions_before_is_shown_as_new(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("models", "add", "o", "sentiment-en") == 0
    capsys.readouterr()
    assert run("models", "log") == 0
    assert "none -> sentiment-en 100" in capsys.readouterr().out


class Registry(BaseHTTPRequestHandler):
    status = 200
    answer: ClassVar[Any] = None
    keys: ClassVar[list[str | None]] = []

    def do_GET(self) -> None:
        self.keys.append(self.headers["Authorization"])
        body = json.dumps(self.answer).encode()
        self.send_response(self.status if self.path == "/models" else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: object) -> None: ...


@pytest.fixture
def registry() -> Iterator[tuple[type[Registry], str]]:
    class Here(Registry):
        keys: ClassVar[list[str | None]] = []

    server = ThreadingHTTPServer(("127.0.0.1", 0), Here)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield Here, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


STATE = {
    "models": [
        {
            "name": "m",
            "default": True,
            "versions": [
                {
                    "version": "m@2026.11", "source": "models/old", "state": "ready", "reason": "", "weight": 97.5,
                    "share": 1.0,
                    "shadow": False, "checksum": "sha256:12", "labels": ["a", "b"],
                    "golden": {"agreement": 0.975, "texts": 40}, "requests": 12345,
                },
                {
                    "version": None, "source": "s3://b/new", "state": "failed", "reason": "corrupt", "weight": 0,
                    "share": 0.0,
                    "shadow": True, "checksum": None, "labels": [], "golden": None, "requests": 0,
                },
            ],
        },
        {"name": "n", "default": False, "versions": []},
    ]
}  # fmt: skip


def test_list_shows_what_a_server_serves(
    registry: tuple[type[Registry], str], capsys: pytest.CaptureFixture[str]
) -> None:
    handler, url = registry
    handler.answer = STATE
    assert run("models", "list", "--url", url, "--api-key", "rts_1") == 0
    assert rows(capsys.readouterr().out) == [
        ["m", "(default)", "m@2026.11", "ready", "97.5", "100.0", "%", "97.5", "%", "of", "40", "12,345", "models/old"],
        ["m", "(default)", "failed", "shadow", "0.0", "%", "0", "s3://b/new", "corrupt"],
    ]
    assert handler.keys == ["Bearer rts_1"]
    assert run("models", "list", "--url", url, "--json") == 0
    assert json.loads(capsys.readouterr().out) == STATE


@pytest.mark.parametrize(
    ("status", "answer", "why"),
    [
        (404, {"detail": "no"}, "it has no list of models; is it an older version?"),
        (500, {"detail": "broken"}, "broken"),
        (500, [], "no rt-sentiment server answers there (500)"),
        (200, [], "no rt-sentiment server answers there (200)"),
        (200, {}, "no rt-sentiment server answers there (200)"),
    ],
)
def test_a_server_that_does_not_list_models_is_named(
    registry: tuple[type[Registry], str], status: int, answer: Any, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    handler, url = registry
    handler.status, handler.answer = status, answer
    assert run("models", "list", "--url", url) == 1
    assert capsys.readouterr().err == f"rt-sentiment: {url}: {why}\n"


def test_a_server_that_is_not_there_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(live, "GIVE_UP_S", 0.0)
    assert run("models", "list", "--url", "http://127.0.0.1:1") == 1
    assert "http://127.0.0.1:1: " in capsys.readouterr().err


def completions(*args: str, begun: str = "") -> list[str]:
    completer = ShellComplete(program, {}, "rt-sentiment", "_RT_SENTIMENT_COMPLETE")
    return [item.value for item in completer.get_completions(list(args), begun)]


def test_the_shell_completes_commands_models_and_versions(file: Path) -> None:
    assert set(completions("models")) == {
        "add", "canary", "compare", "list", "log", "promote", "remove", "rollback", "shadow", "sign", "verify"
    }  # fmt: skip
    assert completions("models", "promote") == ["m", "n"]
    assert completions("models", "promote", begun="n") == ["n"]
    assert completions("models", "promote", "m") == ["models/old", "owner/name@v1", "models/gone"]
    assert completions("models", "canary", "m", begun="o") == ["owner/name@v1"]
    assert completions("models", "promote", "x") == []
    other = file.with_name("other.yaml")
    other.write_text("models: {o: {versions: [{path: a}]}}\n")
    assert completions("models", "rollback", "--file", str(other)) == ["o"]


def test_a_completion_without_a_valid_file_is_empty(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("")
    assert completions("models", "promote") == []
    monkeypatch.delenv("SENTIMENT_MODELS_FILE")
    assert completions("models", "promote", "m") == []


def test_every_command_has_a_help_and_takes_the_file() -> None:
    for name, command in models.commands.items():
        assert command.help, name
        if name in ("add", "canary", "promote", "rollback", "remove", "shadow", "list", "log"):
            assert any("--file" in each.opts for each in command.params if isinstance(each, click.Option)), name
