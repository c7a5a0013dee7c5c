"""What starts servers for the benchmarks leaves none of their processes behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from perf.load.server import running
from tests.support.process import ROOT

# Answers every POST, has a worker in a process group of its own that SIGTERM does not end, and names both processes.
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
    time.sleep(60)
pids.write_text(f"{os.getpid()} {worker}")
http.server.HTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


def still_run(pids: Path) -> list[str]:
    """Which of the processes that a file names run: one that has ended may wait for a parent to ask for its status."""
    found = []
    for pid in pids.read_text().split():
        stat = Path("/proc") / pid / "stat"
        if stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z":
            found.append(pid)
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")
def test_a_worker_that_does_not_listen_is_ended_with_its_server(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    with running([sys.executable, "-c", SERVER, str(pids)], path="/ask"):
        assert len(still_run(pids)) == 2
    assert still_run(pids) == []


@pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")
def test_whoever_ends_a_benchmark_ends_its_server(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    code = """
import sys, time
from perf.load.server import running
with running([sys.executable, "-c", *sys.argv[1:]], path="/ask"):
    print("up", flush=True)
    time.sleep(60)
"""
    command = [sys.executable, "-c", code, SERVER, str(pids)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as benchmark:
        assert benchmark.stdout is not None
        assert benchmark.stdout.readline() == b"up\n"
        assert len(still_run(pids)) == 2
        benchmark.terminate()
        assert benchmark.wait(40) == 128 + signal.SIGTERM
    assert still_run(pids) == []


def test_a_command_can_be_made_from_the_port_and_has_the_variables_that_it_was_given() -> None:
    code = SERVER.replace('== "/ask"', '== os.environ["ASKED"]').replace("sys.argv[1]", "os.devnull")
    code = code.replace("os.fork()", "os.getpid()")  # no worker
    with running(
        lambda port: [sys.executable, "-c", code, "-", str(port)], path="/else", environment={"ASKED": "/else"}
    ) as address:
        assert address.startswith("http://127.0.0.1:")
    assert "ASKED" not in os.environ


def test_a_server_that_ends_before_it_answers_says_why() -> None:
    with (
        pytest.raises(SystemExit, match=r"(?s)ended with 3.*no model"),
        running([sys.executable, "-c", "import sys; print('no model', flush=True); sys.exit(3)"]),
    ):
        pytest.fail("it never answered")


def test_a_server_that_never_answers_is_given_up() -> None:
    started = time.monotonic()
    with (
        pytest.raises(SystemExit, match="does not answer"),
        running([sys.executable, "-c", "import time; time.sleep(60)"], patience_s=0.3),
    ):
        pytest.fail("it never answered")
    assert time.monotonic() - started < 20
