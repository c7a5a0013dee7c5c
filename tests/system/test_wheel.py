"""The wheel of the package, installed beside a project with a package `app` of its own."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.support.process import ROOT, clean_environment

PIP = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([*PIP, "wheel", "--no-deps", "--no-build-isolation", "-w", folder, "."], cwd=ROOT, check=True)
    (file,) = folder.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site-packages")
    subprocess.run([*PIP, "install", "--no-deps", "--no-index", "--target", folder, wheel], check=True)
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with a package `app` that must not be imported."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "__init__.py").write_text("raise ImportError('the wrong package')\n")
    return tmp_path


def run(command: list[str | Path], project: Path, installed: Path) -> str:
    variables = clean_environment(backend="mock") | {"PYTHONPATH": f".:{installed}"}
    done = subprocess.run(command, cwd=project, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_contains_only_the_package_rt_sentiment(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    packages = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert packages == {"rt_sentiment"}
    assert {"rt_sentiment/main.py", "rt_sentiment/py.typed", "rt_sentiment/models/sentiment-en/config.json"} <= {*names}


def test_the_command_works_beside_another_package_called_app(project: Path, installed: Path) -> None:
    output = run([installed / "bin" / "rt-sentiment", "predict", "hi"], project, installed)
    assert json.loads(output)["label"] == "neutral"


def test_the_package_works_beside_another_package_called_app(project: Path, installed: Path) -> None:
    code = "import rt_sentiment; print(rt_sentiment.__file__, rt_sentiment.load_model().predict(['hi'])[0].label)"
    file, label = run([sys.executable, "-c", code], project, installed).split()
    assert Path(file).is_relative_to(installed)
    assert label == "neutral"
