"""A way to hold the model of a server, so that tests need not race with it."""

from pathlib import Path

_WAIT = """
import pathlib, time
def gate_is_open():
    return pathlib.Path({file!r}).exists()
def wait_for_gate():
    while not gate_is_open():
        time.sleep(0.01)
"""
_BEFORE_RUNS = """
from app.inference.backends.mock import MockBackend
run = MockBackend.run
def run_behind_gate(self, batch):
    if batch.input_ids.any():  # the warm-up has only padding
        wait_for_gate()
    return run(self, batch)
MockBackend.run = run_behind_gate
"""
# A device that has broken stays so, and the service keeps trying.
_BROKEN_DEVICE = """
import app.serving.breaker
from app.inference.backends import mock
app.serving.breaker._ATTEMPTS = 30
run = mock.MockBackend.run
def run_until_mended(self, batch):
    if gate_is_open():
        self._broken_until_s = 0
    return run(self, batch)
mock.MockBackend.run, mock._BREAK_S = run_until_mended, 1e9
"""
_BEFORE_LOADING = """
import app.models
load_model = app.models.load_model
def load_behind_gate(*args, **kwargs):
    wait_for_gate()
    return load_model(*args, **kwargs)
app.models.load_model = load_behind_gate
"""


class Gate:
    """Holds a server, started with one of these preludes, until the gate is opened.

    `before_runs` holds the mock backend at each batch, `before_loading` the loading of any model. With `broken_device`,
    a device that is lost stays lost. None of them affects several workers, which are processes of their own.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / "gate"
        wait = _WAIT.format(file=str(self._file))
        self.before_runs = wait + _BEFORE_RUNS
        self.before_loading = wait + _BEFORE_LOADING
        self.broken_device = wait + _BROKEN_DEVICE

    def open(self) -> None:
        self._file.touch()
