import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from app.inference.model import Model, load_model
from tests.support.gate import Gate
from tests.support.process import Server, serve

# Files with slow tests that share no fixtures: pytest-xdist distributes their tests one by one, other files as a whole.
_DISTRIBUTED_BY_TEST = {"test_chaos.py", "test_drain.py", "test_gate.py", "test_schema.py", "test_workers.py"}

# Examples may take any time: hypothesis' own limits would fail tests on a busy machine.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

# `nohup` and some shells let their commands ignore signals, and child processes inherit that. They do not inherit a
# handler: this one still ignores the signal here.
for _number in (signal.SIGHUP, signal.SIGINT):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, lambda *_: None)

# No test downloads a model.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Several tests run in parallel, so more threads per test would only compete for the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.name not in _DISTRIBUTED_BY_TEST:
            item.add_marker(pytest.mark.xdist_group(str(item.path)))


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove settings from the environment of the person who runs the tests."""
    for name in list(os.environ):
        if name.startswith("SENTIMENT_") or name == "PORT":
            monkeypatch.delenv(name)


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    """Holds the model of a server until the test opens it."""
    return Gate(tmp_path)


@pytest.fixture(scope="session")
def embedded() -> Model:
    """The embedded model, loaded with ONNX Runtime."""
    return load_model("sentiment-en", backend="onnx")


@pytest.fixture(scope="session")
def with_exits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a model with exits after 3 and 4 of its 6 layers."""
    from tests.support.exits import add_exits_to_copy  # loads PyTorch, which few tests need

    return add_exits_to_copy(tmp_path_factory.mktemp("exits") / "model")


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A real server with the embedded model."""
    with serve() as running:
        yield running


@pytest.fixture(scope="session")
def mock_server() -> Iterator[Server]:
    """A real server with the mock backend."""
    with serve(backend="mock") as running:
        yield running
