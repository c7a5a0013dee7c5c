"""The suite gives the same results however it is started."""

import subprocess
import sys

import pytest

from tests.support.process import ROOT


@pytest.mark.parametrize("name", ["SIGHUP", "SIGINT"])
def test_servers_get_signals_although_the_suite_runs_under_nohup(name: str) -> None:
    child = f"import signal; print(signal.getsignal(signal.{name}) is signal.SIG_IGN)"
    code = f"""
import os, signal, subprocess, sys
signal.signal(signal.{name}, signal.SIG_IGN)
import tests.conftest
os.kill(os.getpid(), signal.{name})  # is still ignored here
subprocess.run([sys.executable, "-c", "{child}"], check=True)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("False\n", 0), done.stderr
