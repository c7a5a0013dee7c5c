"""Runs the commands of `deploy/ray` in the environment of Ray, if `make ray` has created it."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.process import PATIENT, ROOT, clean_environment
from tests.support.waiting import HANG_S, until

PYTHON = ROOT / ".venv-ray" / "bin" / "python"

needs_ray = pytest.mark.skipif(
    not PYTHON.exists(), reason="Ray is not installed: `make .venv-ray/ray.stamp` creates its environment"
)


class Command:
    """A running command, its log, and the processes that Ray has started for it."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.process = process
        self.log = log

    def processes(self, name: str) -> list[int]:
        """The ids of the processes below this command whose title begins with `ray::` and this name."""
        found = []
        for process in psutil.Process(self.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.cmdline()[:1] and process.cmdline()[0].startswith(f"ray::{name}"):
                    found.append(process.pid)
        return found

    def wait_for_line(self, text: str) -> None:
        def printed() -> bool:
            assert self.process.poll() is None, self.log.read_text()
            return text in self.log.read_text()

        until(printed, interval_s=0.1, on_timeout=self.log.read_text)

    def interrupt(self) -> None:
        """Do what Ctrl-C in a terminal does: it reaches every process of the group."""
        os.killpg(self.process.pid, signal.SIGINT)


@contextlib.contextmanager
def running(module: str, *arguments: str, log: Path, **settings: str) -> Iterator[Command]:
    """Start `python -m module` in a process group of its own, and end what is left of it."""
    environment = clean_environment(**PATIENT | settings)
    environment = {name: value for name, value in environment.items() if not name.startswith("RAY_")}
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [PYTHON, "-m", module, *arguments],
            cwd=ROOT,
            env=environment,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
    try:
        yield Command(process, log)
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            children = psutil.Process(process.pid).children(recursive=True)
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(HANG_S)
            for child in children:
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
