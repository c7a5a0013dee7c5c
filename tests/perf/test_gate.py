"""The latency gate passes what is fast, and nothing else."""

import http.server
import signal
import subprocess
import sys
import threading
from collections import Counter

from nginx.process import free_port
from perf.load.feedback import DISTINCT, Feedback
from tests.support.process import ROOT, serve


def gate(address: str, *flags: str) -> tuple[int, str]:
    command = [
        *(sys.executable, "-m", "locust", "-f", "perf/locustfile.py", "--headless", "--only-summary"),
        *("--host", address, "--users", "30", "--spawn-rate", "30", "--run-time", "4s", *flags),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


def test_the_gate_lets_a_fast_service_pass_and_counts_refused_bad_requests_as_fine() -> None:
    with serve(backend="mock") as server:
        status, verdicts = gate(server.address, "--p95-ms", "2000", "--run-time", "6s")
        assert server.metric('http_requests_total{handler="/predict",method="POST",status="422"}') > 0
    assert status == 0, verdicts
    assert verdicts.count("pass  ") == 4


def test_the_gate_stops_a_slow_service() -> None:
    with serve(backend="mock", mock_delay_ms="60", slots="64", cache_entries="0") as server:
        status, verdicts = gate(server.address, "--p95-ms", "50", "--run-time", "2s")
    assert status == 1
    assert "FAIL  /predict: p95" in verdicts
    assert "FAIL  /predict/batch: p95" in verdicts
    assert "pass  failed: 0.00%" in verdicts


def test_the_gate_stops_a_service_that_fails_now_and_then() -> None:
    with serve(backend="mock", mock_failure_rate="0.2", cache_entries="0") as server:
        status, verdicts = gate(server.address, "--p95-ms", "2000", "--run-time", "6s")
    assert status == 1
    assert "pass  /predict: p95" in verdicts
    assert "FAIL  failed: " in verdicts


def test_the_gate_stops_where_nobody_answers() -> None:
    status, verdicts = gate(f"http://127.0.0.1:{free_port()}")
    assert status == 1
    assert "FAIL  failed: 100.00%" in verdicts


def test_the_gate_stops_a_service_that_freezes() -> None:
    with serve(backend="mock") as server:
        freeze = threading.Timer(3, server.process.send_signal, [signal.SIGSTOP])
        freeze.start()
        status, verdicts = gate(server.address, "--p95-ms", "2000")
        freeze.join()
        server.process.send_signal(signal.SIGCONT)
    assert status == 1
    assert "FAIL  failed: " in verdicts


def test_a_stall_shows_in_the_latencies_although_users_wait_it_out() -> None:
    """A third of the time is a third of the requests, unless users begin to wait anew when they are answered."""
    with serve(backend="mock") as server:
        for seconds, number in ((2.5, signal.SIGSTOP), (4, signal.SIGCONT)):
            threading.Timer(seconds, server.process.send_signal, [number]).start()
        status, verdicts = gate(server.address, "--p95-ms", "500")
    assert status == 1
    assert "FAIL  /predict: p95" in verdicts
    assert "pass  failed: 0.00%" in verdicts


def test_the_gate_stops_a_service_that_answers_something_else() -> None:
    class Nonsense(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"[]")

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Nonsense) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        status, verdicts = gate(f"http://127.0.0.1:{server.server_port}", "--p95-ms", "2000")
        server.shutdown()
    assert status == 1
    assert "FAIL  failed: 100.00%" in verdicts


def test_the_feedback_is_mostly_single_texts_with_popular_ones_among_them() -> None:
    source = Feedback(seed=1)
    kinds = Counter(source.request().kind for _ in range(5000))
    assert 0.8 < kinds["single"] / 5000 < 0.9
    assert 0.08 < kinds["list"] / 5000 < 0.16
    assert 0 < kinds["bad"] / 5000 < 0.04
    texts = Counter(source.texts(20_000))
    top = sum(count for _, count in texts.most_common(DISTINCT // 100))
    assert 0.2 < top / 20_000 < 0.6  # a hundredth of the texts
    assert len(texts) > 5000
    words = sorted(len(text.split()) for text in texts)
    assert words[len(words) // 2] < 35
    assert words[-len(words) // 50] > 80


def test_equal_seeds_send_equal_requests() -> None:
    one, two = Feedback(seed=3), Feedback(seed=3)
    assert [one.request() for _ in range(50)] == [two.request() for _ in range(50)]
    assert one.request() != Feedback(seed=4).request()
