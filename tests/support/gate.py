"""A way to hold the model of a server, so that tests need not race with it."""

from pathlib import Path

_WAIT = """
import pathlib, time
def wait_for_gate():
    while not pathlib.Path({file!r}).exists():
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
_BEFORE_LOADING = """
import app.main
load_model = app.main.load_model
def load_behind_gate(*args, **kwargs):
    wait_for_gate()
    return load_model(*args, **kwargs)
app.main.load_model = load_behind_gate
"""


class Gate:
    """Holds a server, started with one of these preludes, until the gate is opened.

    `before_runs` holds the mock backend at each batch, `before_loading` the loading of any model. Neither holds several
    workers, which are processes of their own.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / "gate"
        wait = _WAIT.format(file=str(self._file))
        self.before_runs = wait + _BEFORE_RUNS
        self.before_loading = wait + _BEFORE_LOADING

    def open(self) -> None:
        self._file.touch()
