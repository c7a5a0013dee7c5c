"""The processes that tests start as forks."""

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import forks

Start = Callable[..., forks.Process]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    def start(code: str, *args: str, **environment: str) -> forks.Process:
        with (tmp_path / "errors").open("ab") as errors:
            return forks.start(("json",), code, args, tmp_path, environment, errors)

    return start


def test_a_fork_has_its_own_arguments_environment_and_folder(start: Start, tmp_path: Path) -> None:
    code = "import os, sys\nopen('out', 'w').write(f'{sys.argv} {dict(os.environ)} {os.getpid()}')\nprint(1 / 0)"
    process = start(code, "a", "b", NAME="value")
    assert process.wait(60) == process.poll() == 1
    assert (tmp_path / "out").read_text() == f"['-c', 'a', 'b'] {{'NAME': 'value'}} {process.pid}"
    assert (tmp_path / "errors").read_text().endswith("ZeroDivisionError: division by zero\n")


def test_a_fork_ends_with_the_status_of_its_exit_or_signal(start: Start) -> None:
    running = start("import time\ntime.sleep(600)")
    assert start("import sys\nsys.exit(7)").wait(60) == 7
    assert running.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        running.wait(0.01)
    running.terminate()
    assert running.wait(60) == -signal.SIGTERM
    running.kill()  # too late, and without effect
    with pytest.raises(ProcessLookupError):
        os.kill(running.pid, 0)
