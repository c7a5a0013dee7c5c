"""The package: its names, its wheel, and the examples in its documents."""

import inspect
import json
import os
import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
import rt_sentiment_client
from rt_sentiment_client import AsyncClient, Client, SentimentError
from rt_sentiment_client.async_jobs import AsyncJobs
from rt_sentiment_client.sync_jobs import Jobs

from app import __version__
from tests.support.process import ROOT, Server

FOLDER = ROOT / "clients" / "python"
PIP = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
README = (FOLDER / "README.md").read_text()
PAGE = (ROOT / "docs" / "client.md").read_text()
OF_JOBS = ["cancel", "delete", "download", "events", "get", "list", "result", "retry", "submit", "train", "wait"]


def examples(text: str) -> list[str]:
    """The programs that can be run: those that need more say so in a comment before them."""
    return re.findall(r"(?<!-->\n)^```python\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


ALL_EXAMPLES = [*examples(README), *examples(PAGE)]
JOB_EXAMPLES = [program for program in ALL_EXAMPLES if ".jobs." in program]


def run_example(program: str, address: str, folder: Path = ROOT) -> str:
    variables = os.environ | {"RT_SENTIMENT_URL": address, "PYTHONPATH": str(FOLDER)}
    command = [sys.executable, "-W", "error", "-c", program.replace("http://127.0.0.1:8000", address)]
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_published_names_stay() -> None:
    """Removing one of them breaks programs of users."""
    assert sorted(rt_sentiment_client.__all__) == [
        "Agreement",
        "AsyncClient",
        "Client",
        "DeadlineExceeded",
        "ExplainedPrediction",
        "Info",
        "InvalidRequest",
        "InvalidText",
        "Job",
        "JobRow",
        "Limits",
        "Overloaded",
        "Prediction",
        "Progress",
        "SentimentError",
        "ServedModel",
        "ServedVersion",
        "ServerError",
        "SubmittedJob",
        "TextTooLong",
        "Unauthorized",
        "Unavailable",
        "UnexpectedResponse",
        "UntrustedServer",
        "WordWeight",
        "__version__",
    ]
    assert all(hasattr(rt_sentiment_client, name) for name in rt_sentiment_client.__all__)


def test_the_published_methods_stay() -> None:
    common = {"__init__", "explain", "feedback", "info", "models", "predict", "predict_many", "stream"}
    assert _methods(Client) == common | {"__enter__", "__exit__", "close"}
    assert _methods(AsyncClient) == common | {"__aenter__", "__aexit__", "aclose"}
    assert _methods(Jobs) == _methods(AsyncJobs) == {"__init__", *OF_JOBS}


def _methods(kind: type) -> set[str]:
    names = {name for name, _ in inspect.getmembers(kind, inspect.isfunction)}
    return {name for name in names if name == "__init__" or not re.match("_[^_]|__repr__", name)}


@pytest.mark.parametrize("name", ["__init__", "explain", "info", "models", "predict", "predict_many", "stream"])
def test_both_clients_take_the_same_arguments(name: str) -> None:
    ours, theirs = (inspect.signature(getattr(kind, name)).parameters for kind in (Client, AsyncClient))
    assert [(each.name, each.kind, each.default) for each in ours.values()] == [
        (each.name, each.kind, each.default) for each in theirs.values()
    ]


@pytest.mark.parametrize("name", OF_JOBS)
def test_jobs_of_both_clients_take_the_same_arguments(name: str) -> None:
    ours, theirs = (inspect.signature(getattr(kind, name)).parameters for kind in (Jobs, AsyncJobs))
    assert {**ours} == {**theirs}


def test_the_client_has_the_version_of_the_server() -> None:
    assert rt_sentiment_client.__version__ == __version__


@pytest.mark.parametrize("program", [program for program in ALL_EXAMPLES if program not in JOB_EXAMPLES])
def test_an_example_runs(program: str, mock_server: Server) -> None:
    run_example(program, mock_server.address)


def test_the_readme_has_six_examples() -> None:
    assert len(examples(README)) == 6


def test_the_page_says_for_each_error_whether_it_is_tried_again() -> None:
    table = PAGE[PAGE.index("\n## Errors") : PAGE.index("\n## Retries")]
    rows = re.findall(r"^\| `(\w+)`[^|]*\|[^|]*\| (yes|no) \|$", table, flags=re.MULTILINE)
    kinds = [getattr(rt_sentiment_client, name) for name in rt_sentiment_client.__all__ if name != "__version__"]
    errors = {kind for kind in kinds if issubclass(kind, Exception)} - {SentimentError}
    assert {name: answer == "yes" for name, answer in rows} == {kind.__name__: kind.is_temporary for kind in errors}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([*PIP, "wheel", "--no-deps", "--no-build-isolation", "-w", folder, "."], cwd=FOLDER, check=True)
    (file,) = folder.glob("*.whl")
    return file


def test_the_wheel_has_the_package_its_types_and_its_licence(wheel: Path) -> None:
    names = {*zipfile.ZipFile(wheel).namelist()}
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"rt_sentiment_client"}
    assert "rt_sentiment_client/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_wheel_works_with_httpx_and_what_that_needs_alone(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path, with_pip=False, symlinks=True)
    python = tmp_path / "bin" / "python"
    (packages,) = tmp_path.glob("lib/*/site-packages")
    subprocess.run([*PIP, "install", "--no-deps", "--no-index", "--target", packages, wheel], check=True)
    for name in ("httpx", "httpcore", "h11", "anyio", "idna", "certifi", "typing_extensions.py"):
        (packages / name).symlink_to(next(Path(folder) / name for folder in sys.path if (Path(folder) / name).exists()))
    program = """
import json, sys
from rt_sentiment_client import AsyncClient, Client, SentimentError
with Client("http://127.0.0.1:9") as client: client.close()
print(json.dumps(sorted({name.split(".")[0] for name in sys.modules} - sys.stdlib_module_names)))
"""
    done = subprocess.run([python, "-I", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    imported = {name for name in json.loads(done.stdout) if not name.startswith("_")}
    assert imported <= {
        "rt_sentiment_client",
        "httpx",
        "httpcore",
        "h11",
        "anyio",
        "idna",
        "certifi",
        "typing_extensions",
    }
