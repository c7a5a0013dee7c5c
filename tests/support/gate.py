"""A way to hold the model of a server, so that tests need not race with it."""

from pathlib import Path

_PRELUDE = """
import pathlib, time
from app.inference.backends.mock import MockBackend
run = MockBackend.run
def run_behind_gate(self, batch):
    is_warm_up = not batch.input_ids.any()
    while not is_warm_up and not pathlib.Path({file!r}).exists():
        time.sleep(0.01)
    return run(self, batch)
MockBackend.run = run_behind_gate
"""


class Gate:
    """Holds the mock backend of `serve(backend="mock", prelude=gate.prelude)` until it is opened.

    It does not hold the backends of several workers, which are processes of their own.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / "gate"
        self.prelude = _PRELUDE.format(file=str(self._file))

    def open(self) -> None:
        self._file.touch()
