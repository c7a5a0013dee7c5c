"""The latency gate passes a fast service and fails every other one."""

import http.server
import signal
import subprocess
import sys
import threading

from nginx.process import free_port
from tests.support.process import ROOT, serve


def gate(address: str, *flags: str) -> tuple[int, str]:
    command = [
        *(sys.executable, "-m", "locust", "-f", "perf/locustfile.py", "--headless", "--only-summary"),
        *("--host", address, "--users", "30", "--spawn-rate", "30", "--run-time", "4s", *flags),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


def test_a_fast_service_passes_and_bad_requests_may_be_rejected() -> None:
    with serve(backend="mock") as server:
        status, output = gate(server.address, "--p95-ms", "2000", "--run-time", "6s")
        assert server.metric('http_requests_total{handler="/predict",method="POST",status="422"}') > 0
    assert status == 0, output
    assert output.count("pass  ") == 4


def test_a_slow_service_fails() -> None:
    with serve(backend="mock", mock_delay_ms="60", slots="64", cache_entries="0") as server:
        status, output = gate(server.address, "--p95-ms", "50", "--run-time", "2s")
    assert status == 1
    assert "FAIL  /predict: p95" in output
    assert "FAIL  /predict/batch: p95" in output
    assert "pass  failed: 0.00%" in output


def test_a_service_with_occasional_errors_fails() -> None:
    with serve(backend="mock", mock_failure_rate="0.2", cache_entries="0") as server:
        status, output = gate(server.address, "--p95-ms", "2000", "--run-time", "6s")
    assert status == 1
    assert "pass  /predict: p95" in output
    assert "FAIL  failed: " in output


def test_a_closed_port_fails() -> None:
    status, output = gate(f"http://127.0.0.1:{free_port()}")
    assert status == 1
    assert "FAIL  failed: 100.00%" in output


def test_a_service_that_freezes_fails() -> None:
    with serve(backend="mock") as server:
        freeze = threading.Timer(3, server.process.send_signal, [signal.SIGSTOP])
        freeze.start()
        status, output = gate(server.address, "--p95-ms", "2000")
        freeze.join()
        server.process.send_signal(signal.SIGCONT)
    assert status == 1
    assert "FAIL  failed: " in output


def test_a_stall_shows_in_the_latency_although_users_wait() -> None:
    """A stall of a third of the time affects a third of the requests, since latency counts from when they were due."""
    with serve(backend="mock") as server:
        for seconds, number in ((2.5, signal.SIGSTOP), (4, signal.SIGCONT)):
            threading.Timer(seconds, server.process.send_signal, [number]).start()
        status, output = gate(server.address, "--p95-ms", "500")
    assert status == 1
    assert "FAIL  /predict: p95" in output
    assert "pass  failed: 0.00%" in output


def test_responses_that_are_not_predictions_fail() -> None:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"[]")

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        status, output = gate(f"http://127.0.0.1:{server.server_port}", "--p95-ms", "2000")
        server.shutdown()
    assert status == 1
    assert "FAIL  failed: 100.00%" in output
