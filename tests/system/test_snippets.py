"""Every code block of the documents runs, or says why it cannot.

Servers and steps that take long are started with their real command lines, but only until their settings and arguments
have been read.
"""

import argparse
import configparser
import importlib
import importlib.util
import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

import pytest
import yaml

import app.server
from app.cli import main
from app.config import Settings
from tests.support.documents import ALL_BLOCKS, Block
from tests.support.process import ROOT, Server, clean_environment
from tests.support.workspace import Call, Workspace

ADDRESS = "http://127.0.0.1:8000"
RUN = [block for block in ALL_BLOCKS if not block.outline]
# These blocks have tests of their own, which use every block of a page.
TESTED_ELSEWHERE = {
    ("docs/deployment.md", "nginx"),  # tests/deploy/test_prefix.py
    ("docs/metrics.md", "promql"),  # tests/support/monitoring.py
    ("docs/runbook.md", "promql"),  # the same
    ("docs/client.md", "python"),  # tests/clients/test_package.py
    ("docs/protocols.md", "python"),  # tests/system/test_protocol_clients.py
    ("clients/python/README.md", "python"),  # the same
}
OURS = ("app", "nginx", "onnx_export", "perf", "tests", "training")


def in_language(*languages: str) -> Any:
    elsewhere = {(file, language) for file, language in TESTED_ELSEWHERE if language in languages}
    chosen = [
        block
        for block in RUN
        if block.language in languages and (block.place.partition(":")[0], block.language) not in elsewhere
    ]
    return pytest.mark.parametrize("block", chosen, ids=lambda block: block.place)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def localised(text: str, server: Server) -> str:
    """The text with the address of a real server."""
    return text.replace(ADDRESS, server.address).replace("http://REPLICA", server.address)


def test_every_block_has_a_language_that_is_tested() -> None:
    for block in RUN:
        file = block.place.partition(":")[0]
        tested = block.language in {"sh", "console", "python", "toml", "yaml", "ini", "json", "text"}
        assert tested or (file, block.language) in TESTED_ELSEWHERE, block.place


def test_commands_cannot_remove_what_was_built_in_the_repository(workspace: Workspace) -> None:
    for name in ("dist", "runs", ".venv"):
        assert not (workspace.folder / name).is_symlink()


def test_outlines_are_few_and_say_why() -> None:
    outlines = [block for block in ALL_BLOCKS if block.outline is not None]
    assert all(len(str(block.outline)) > 10 for block in outlines)
    assert len(outlines) < len(ALL_BLOCKS) / 3


@in_language("sh")
def test_documented_shell_commands_run(
    block: Block, workspace: Workspace, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    (workspace.folder / "log").write_text(server.log.read_text())
    workspace.run(localised(block.text, server))
    for call in workspace.calls():
        check(call, monkeypatch)


@in_language("console")
def test_documented_commands_print_the_documented_output(block: Block, workspace: Workspace, server: Server) -> None:
    commands = re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]
    assert commands, "a command begins with `$ `"
    for part in commands:
        command, shown = re.fullmatch(r"((?:.*\\\n)*.*)\n?((?s:.*))", part).groups()  # type: ignore[union-attr]
        printed = workspace.run(localised(command, server))
        for expected, line in zip(shown.splitlines(), printed.splitlines(), strict=True):
            assert matches(expected, line.rstrip()), f"{block.place}: {line}"


@in_language("python")
def test_documented_python_runs(block: Block, workspace: Workspace, server: Server) -> None:
    environment = clean_environment() | {"PYTHONPATH": str(ROOT)}
    program = [sys.executable, "-W", "error", "-c", localised(block.text, server)]
    subprocess.run(program, cwd=workspace.folder, env=environment, check=True)


@in_language("toml", "yaml", "json", "ini")
def test_documented_files_can_be_read(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    if block.language == "ini":
        unit = configparser.ConfigParser()
        unit.optionxform = str  # type: ignore[method-assign, assignment]
        unit.read_string(block.text)
        program, *arguments = shlex.split(unit["Service"]["ExecStart"])
        check(Call(Path(program).name, arguments, {}), monkeypatch)
    else:
        readers: dict[str, Callable[[str], Any]] = {"toml": tomllib.loads, "yaml": yaml.safe_load, "json": json.loads}
        assert readers[block.language](block.text)


def test_the_start_page_shows_the_log_of_a_real_start(server: Server) -> None:
    (shown,) = (block for block in RUN if block.place.startswith("docs/start.md") and block.language == "text")
    for line in shown.text.splitlines():
        event, fields = re.fullmatch(r"[\d:.]+ info +([a-z ]+) (\w+=.+)", line).groups()  # type: ignore[union-attr]
        assert set(re.findall(r"(\w+)=", fields)) <= server.wait_for(event).keys()


def matches(shown: str, printed: str) -> bool:
    """Whether a line is as shown, except for the last digits of numbers in JSON and what `…` stands for."""
    if shown.startswith("{") and "…" not in shown:
        return close(json.loads(shown), json.loads(printed))
    return bool(re.fullmatch(".*".join(map(re.escape, shown.split("…"))), printed))


def close(shown: Any, actual: Any) -> bool:
    """Equal, except for the last digits of numbers: processors round differently."""
    if isinstance(shown, dict) and isinstance(actual, dict):
        return shown.keys() == actual.keys() and all(close(shown[key], actual[key]) for key in shown)
    if isinstance(shown, list) and isinstance(actual, list):
        return len(shown) == len(actual) and all(map(close, shown, actual))
    if isinstance(shown, float) and isinstance(actual, float):
        return abs(shown - actual) <= 0.02
    return bool(shown == actual)


def check(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the program that was recorded read its arguments and its settings."""
    match call.program, call.arguments:
        case (("recorded" | "rt-sentiment"), ["serve", *flags]):
            check_settings(flags, call.settings, monkeypatch)
        case (("recorded" | "rt-sentiment"), ["train", *flags]):
            check_arguments("training", ["all", *flags], monkeypatch)
        case "watchfiles", _:
            check_settings([], call.settings, monkeypatch)
        case "python", ["-m", module, *arguments] if module.partition(".")[0] in OURS:
            check_settings([], call.settings, monkeypatch)
            check_arguments(module, arguments, monkeypatch)
        case "python", ["-m", "pip", *arguments]:
            check_pip(arguments)
        case "pip", arguments:
            check_pip(arguments)
        case "docker", arguments:
            check_docker(arguments)


def check_settings(flags: list[str], settings: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Start a server, and stop it when it has read its settings."""
    started: list[Settings] = []
    with monkeypatch.context() as patch:
        patch.setattr(app.server, "serve", lambda settings: started.append(settings) or 0)
        for name, value in settings.items():
            patch.setenv(name, value)
        with pytest.raises(SystemExit) as ended:
            main(["serve", *flags])
    assert (ended.value.code, len(started)) == (0, 1)


class ArgumentsRead(Exception):
    """The arguments are valid."""


def check_arguments(module: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Start a command of this repository, and stop it when it has read its arguments."""
    parse = argparse.ArgumentParser.parse_args

    def parse_and_stop(*args: Any, **options: Any) -> NoReturn:
        parse(*args, **options)
        raise ArgumentsRead

    spec = importlib.util.find_spec(module)
    assert spec is not None, module
    name = f"{module}.__main__" if spec.submodule_search_locations else module
    command = importlib.import_module(name)
    with monkeypatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", parse_and_stop)
        patch.setattr(sys, "argv", [module, *arguments])
        with pytest.raises(ArgumentsRead):
            command.main()


def check_pip(arguments: list[str]) -> None:
    """The files and extras that are named exist."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for argument in arguments:
        if named := re.search(r"\[([\w,]+)\]$", argument):
            assert set(named[1].split(",")) <= set(extras), argument
        elif argument.endswith(".txt"):
            assert (ROOT / argument).is_file(), argument


def check_docker(arguments: list[str]) -> None:
    """The target and the build arguments exist in the Dockerfile; a command in a container is one of ours."""
    dockerfile = (ROOT / "Dockerfile").read_text()
    if arguments[0] == "build":
        for flag, value in pairwise(arguments):
            if flag == "--target":
                assert re.search(rf"^FROM .* AS {value}$", dockerfile, flags=re.MULTILINE), value
            if flag == "--build-arg":
                assert re.search(rf"^ARG {value.partition('=')[0]}\b", dockerfile, flags=re.MULTILINE), value
    elif arguments[0] == "compose":
        files = [value for flag, value in pairwise(arguments) if flag == "-f"]
        assert all((ROOT / file).is_file() for file in files)
        assert arguments[-1] == "up"
    else:
        assert arguments[0] == "run"
        assert any(re.fullmatch(r"rt-sentiment(:\w+)?", argument) for argument in arguments)
