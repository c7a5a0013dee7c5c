"""Benchmarks stop their servers completely, and report servers that do not start."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from perf.load.server import running
from tests.support.process import ROOT
from tests.support.waiting import HANG_S

# Answers POST requests. Starts a worker in its own process group that ignores SIGTERM. Writes both pids to a file.
SERVER = """
import http.server, os, pathlib, signal, sys, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200 if self.path == "/ask" else 404)
        self.end_headers()
pids, port = pathlib.Path(sys.argv[1]), int(sys.argv[2])
worker = os.fork()
if not worker:
    os.setpgid(0, 0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(600)
pids.write_text(f"{os.getpid()} {worker}")
http.server.HTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


def running_pids_in(pids: Path) -> list[str]:
    """Return the running processes among those listed in a file. Zombies do not count."""
    running_pids = []
    for pid in pids.read_text().split():
        stat = Path("/proc") / pid / "stat"
        if stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z":
            running_pids.append(pid)
    return running_pids


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_worker_that_ignores_sigterm_is_stopped_with_its_server(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    with running([sys.executable, "-c", SERVER, str(pids)], path="/ask"):
        assert len(running_pids_in(pids)) == 2
    assert running_pids_in(pids) == []


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_sigterm_to_a_benchmark_also_stops_its_server(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    code = """
import sys, time
from perf.load.server import running
with running([sys.executable, "-c", *sys.argv[1:]], path="/ask"):
    print("up", flush=True)
    time.sleep(600)
"""
    command = [sys.executable, "-c", code, SERVER, str(pids)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as benchmark:
        assert benchmark.stdout is not None
        assert benchmark.stdout.readline() == b"up\n"
        assert len(running_pids_in(pids)) == 2
        benchmark.terminate()
        assert benchmark.wait(HANG_S) == 128 + signal.SIGTERM
    assert running_pids_in(pids) == []


def test_a_command_can_be_a_callable_and_gets_its_environment() -> None:
    code = SERVER.replace('== "/ask"', '== os.environ["EXPECTED_PATH"]').replace("sys.argv[1]", "os.devnull")
    code = code.replace("os.fork()", "os.getpid()")  # no worker
    with running(
        lambda port: [sys.executable, "-c", code, "-", str(port)], path="/else", environment={"EXPECTED_PATH": "/else"}
    ) as address:
        assert address.startswith("http://127.0.0.1:")
    assert "EXPECTED_PATH" not in os.environ


def test_output_of_a_server_that_exits_early_is_shown() -> None:
    with (
        pytest.raises(SystemExit, match=r"(?s)exited with 3.*no model"),
        running([sys.executable, "-c", "import sys; print('no model', flush=True); sys.exit(3)"]),
    ):
        pytest.fail("the server should not have started")


def test_a_server_that_never_answers_times_out() -> None:
    with (
        pytest.raises(SystemExit, match="does not answer"),
        running([sys.executable, "-c", "import time; time.sleep(600)"], patience_s=0.3),
    ):
        pytest.fail("the server should not have started")
