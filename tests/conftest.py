import os
from collections.abc import Iterator

import pytest

from app.inference.model import Model, load_model
from tests.support.process import Server, serve

# Files whose tests take long and share nothing: each goes to whichever process is free. Other files go as a whole.
_SPREAD = {"test_chaos.py", "test_gate.py", "test_workers.py"}

# The model hub must not be asked.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Several tests run at a time: threads of one would only wait, busily, for those of another.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.name not in _SPREAD:
            item.add_marker(pytest.mark.xdist_group(str(item.path)))


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings of whoever runs the tests must not decide them."""
    for name in list(os.environ):
        if name.startswith("SENTIMENT_"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def embedded() -> Model:
    """The embedded model on ONNX Runtime."""
    return load_model("sentiment-en", backend="onnx")


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A real server with the embedded model, as `make serve` starts it."""
    with serve() as running:
        yield running


@pytest.fixture(scope="session")
def mock_server() -> Iterator[Server]:
    """A real server with the mock backend."""
    with serve(backend="mock") as running:
        yield running
