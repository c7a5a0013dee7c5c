"""A backend of the user's own: the documented example, and what is said when something is missing."""

import re
import sys
from pathlib import Path

import pytest

from app.errors import ArtifactError, BackendError, SetupError
from app.inference import load_model
from tests.support.process import ROOT, serve

PAGE = (ROOT / "docs" / "backends.md").read_text()
MODULE = "import numpy\n\nclass Own:\n    def __init__(self, artifact, *, device, precision, slots):\n        "


def example() -> str:
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
    return str(code)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which a user starts the service. What is imported from it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith("own_"):
            del sys.modules[name]


def test_the_example_of_the_docs_is_short() -> None:
    assert len(example().splitlines()) < 40


def test_the_example_of_the_docs_serves(folder: Path) -> None:
    (folder / "my_backend.py").write_text(example())
    environment = {"PYTHONPATH": f"{ROOT}:{folder}"}
    with (
        serve(backend="my_backend:ProviderBackend", environment=environment, fresh=True) as server,
        server.client() as http,
    ):
        assert http.get("/info").json()["backend"] == "provider"
        texts = ["I loved it.", "I want my money back.", "The parcel arrived on Tuesday."]
        predictions = http.post("/predict/batch", json={"texts": texts}).json()["predictions"]
        assert [each["label"] for each in predictions] == ["positive", "negative", "neutral"]


def test_it_is_found_in_the_current_folder(folder: Path) -> None:
    body = "self.name, self.device, self.precision, self.slots, self.skips_padding = 'own', 'cpu', 'x', slots, False\n"
    run = "    def run(self, batch):\n        return numpy.zeros((len(batch), 3), dtype=numpy.float32)\n"
    (folder / "own_found.py").write_text(MODULE + body + run)
    model = load_model(backend="own_found:Own", slots=1)
    assert model.info.backend == "own"
    assert model.predict(["good"])[0].confidence == pytest.approx(1 / 3)


def test_missing_members_are_named(folder: Path) -> None:
    (folder / "own_bare.py").write_text(MODULE + "self.name = 'own'\n")
    with pytest.raises(SetupError, match="no attribute device, precision, slots, skips_padding, run"):
        load_model(backend="own_bare:Own")


@pytest.mark.parametrize(
    ("backend", "message"),
    [
        ("own_missing:Own", "own_missing cannot be imported"),
        ("own_other:Own", "own_other has no Own"),
        ("own_other:Plain", r"must be callable with \(artifact, \*, device, precision, slots\)"),
        ("builtins:dict", "must be callable with"),
        ("own_attribute:Own", "AttributeError: no such thing"),
        ("own_syntax:Own", "SyntaxError"),
    ],
)
def test_a_class_that_cannot_be_used_is_named(folder: Path, backend: str, message: str) -> None:
    (folder / "own_other.py").write_text("class Plain:\n    def __init__(self):\n        pass\n")
    (folder / "own_attribute.py").write_text("raise AttributeError('no such thing')\n")
    (folder / "own_syntax.py").write_text("class\n")
    with pytest.raises(SetupError, match=message):
        load_model(backend=backend)


def test_what_its_constructor_raises_is_told(folder: Path) -> None:
    (folder / "own_file.py").write_text(MODULE + "raise FileNotFoundError('no weights here')\n")
    with pytest.raises(BackendError, match="own_file:Own cannot be loaded: FileNotFoundError: no weights here"):
        load_model(backend="own_file:Own")


def test_a_model_without_weights_needs_a_backend_of_its_own(tmp_path: Path, folder: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    embedded = ROOT / "models" / "sentiment-en"
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (model / name).write_bytes((embedded / name).read_bytes())
    with pytest.raises(ArtifactError, match=r"no weights; looked for model_int8\.onnx"):
        load_model(str(model))
