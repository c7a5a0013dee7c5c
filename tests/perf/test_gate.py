"""The latency gate passes a fast service and fails every other one, whichever way locust runs it.

No test depends on the speed of the machine: latencies are far below or far above the limit, and a test lasts until the
service has had the requests that it is about.
"""

import contextlib
import http.server
import json
import os
import re
import signal
import socketserver
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from nginx.process import free_port
from tests.support.process import ROOT, Server, serve
from tests.support.waiting import HANG_S, until

LOCUST = [sys.executable, "-m", "locust", "-f", "perf/locustfile.py"]
SLOW_MS, ANY_MS = "1e6", "0.001"  # limits that every machine keeps, and that none keeps


class Gate:
    """A running locust and its output."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.process = process
        self._log = log

    def output(self) -> str:
        return self._log.read_text()

    def finish(self) -> "Result":
        """End the test as Ctrl-C does."""
        self.process.terminate()
        return self.result()

    def result(self) -> "Result":
        """Wait for the end."""
        status = self.process.wait(HANG_S)
        print(self.output())
        return Result(status, self.output())


@dataclass(frozen=True)
class Result:
    status: int
    output: str

    @property
    def verdict(self) -> list[str]:
        return [line for line in self.output.splitlines() if line[:6] in {"pass  ", "FAIL  "}]

    @property
    def passed(self) -> list[bool]:
        return [line.startswith("pass") for line in self.verdict]


@contextmanager
def gate(*flags: str) -> Iterator[Gate]:
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with log.open("wb") as stream:
            command = [*LOCUST, "--only-summary", "--users", "10", "--spawn-rate", "10", *flags]
            if "--processes" in flags:  # otherwise every master has the same port
                port = str(free_port())
                command += ["--master-port", port, "--master-bind-port", port]
            process = subprocess.Popen(command, cwd=ROOT, stdout=stream, stderr=stream, start_new_session=True)
        running = Gate(process, log)
        try:
            yield running
        finally:
            with contextlib.suppress(ProcessLookupError):  # workers may outlive their master
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def judge(server: "Server | FakeService", *flags: str, requests: int = 30) -> Result:
    """Run the gate until the server has had so many single texts, and some lists."""

    def has_had_enough() -> bool:
        assert running.process.poll() is None, running.output()
        return received(server, "/predict") >= requests and received(server, "/predict/batch") > 0

    with gate("--headless", "--host", server.address, *flags) as running:
        until(has_had_enough, on_timeout=running.output)
        return running.finish()


def received(server: "Server | FakeService", path: str) -> float:
    if isinstance(server, FakeService):
        return server.received[path]
    statuses = (200, 400, 415, 422, 500)
    series = 'http_requests_total{{handler="{}",method="POST",status="{}"}}'
    return sum(server.metric(series.format(path, status)) for status in statuses)


class FakeService(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """Answers as the service does, or as `answer` says, and counts the requests for each path."""

    daemon_threads = True

    def __init__(self, answer: Callable[[str, int], bytes | None] | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server_port}"
        self.received: Counter[str] = Counter()
        self.answer = answer or (lambda _path, _number: None)

    def __enter__(self) -> "FakeService":
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeService

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received[self.path] += 1
        status, answer = right_answer(body, self.headers["Content-Type"])
        answer = self.server.answer(self.path, self.server.received[self.path]) or answer
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


def right_answer(body: bytes, media_type: str) -> tuple[int, bytes]:
    if media_type != "application/json":
        return 415, b"{}"
    try:
        request = json.loads(body)
    except ValueError:
        return 400, b"{}"
    prediction = {"label": "positive", "scores": {"positive": 1.0}}
    if isinstance(request.get("texts"), list):
        return 200, json.dumps({"predictions": [prediction] * len(request["texts"])}).encode()
    if str(request.get("text", "")).strip():
        return 200, json.dumps(prediction).encode()
    return 422, b"{}"


@pytest.fixture
def fast() -> Iterator[FakeService]:
    with FakeService() as service:
        yield service


def test_a_fast_service_passes_and_bad_requests_may_be_rejected() -> None:
    rejected = 'http_requests_total{handler="/predict",method="POST",status="422"}'
    with serve(backend="mock") as server, gate("--headless", "--host", server.address, "--p95-ms", SLOW_MS) as running:
        until(lambda: server.metric(rejected) and received(server, "/predict/batch"), on_timeout=running.output)
        result = running.finish()
    assert result.status == 0
    assert result.passed == [True] * 4


def test_a_slow_service_fails() -> None:
    with serve(backend="mock") as server:
        result = judge(server, "--p95-ms", ANY_MS)
    assert result.status == 1
    assert result.passed == [False, False, True, True]
    assert re.match(r"FAIL  /predict/batch: p95 [\d.]+ ms, limit: below 0.001 ms", result.verdict[1])


def test_a_service_with_occasional_errors_fails() -> None:
    with serve(backend="mock", mock_failure_rate="0.2", cache_entries="0") as server:
        result = judge(server, "--p95-ms", SLOW_MS, requests=60)
    assert result.status == 1
    assert "FAIL  failed: " in result.output


def test_a_closed_port_fails_on_every_route() -> None:
    with gate("--headless", "--host", f"http://127.0.0.1:{free_port()}", "--run-time", "4s") as running:
        result = running.result()
    assert result.status == 1
    assert result.passed[:3] == [False] * 3
    assert "FAIL  failed: 100.00%, limit 0.10%" in result.verdict


def test_a_service_that_stops_answering_fails() -> None:
    silence = threading.Event()
    unanswered: list[str] = []

    def answer(path: str, number: int) -> None:
        if path == "/predict" and number > 20:
            unanswered.append(path)
            silence.wait(HANG_S)

    with FakeService(answer) as service, gate("--headless", "--host", service.address, "--p95-ms", SLOW_MS) as running:
        until(lambda: len(unanswered) >= 5, on_timeout=running.output)
        result = running.finish()
        silence.set()
    assert result.status == 1
    assert "FAIL  /predict: no p95, because more than 5 % of " in result.output
    assert "FAIL  failed: " in result.output


@pytest.mark.parametrize("body", [b"[]", b"{}", b"{", b'{"predictions": []}', b'{"label": "a", "scores": {}}'])
def test_responses_that_are_not_predictions_fail(body: bytes) -> None:
    with FakeService(lambda *_: body) as service:
        result = judge(service, "--p95-ms", SLOW_MS, requests=5)
    assert result.status == 1
    assert result.passed == [False, False, False, True]


@pytest.mark.parametrize("prefix", ["", "/sentiment"])
@pytest.mark.parametrize("slash", ["", "/"])
def test_the_address_may_have_a_path_and_a_slash_at_its_end(fast: FakeService, prefix: str, slash: str) -> None:
    with gate("--headless", "--host", f"{fast.address}{prefix}{slash}", "--p95-ms", SLOW_MS) as running:
        until(lambda: fast.received[f"{prefix}/predict/batch"], on_timeout=running.output)
        assert running.finish().passed == [True] * 4
    assert set(fast.received.elements()) == {f"{prefix}/predict", f"{prefix}/predict/batch"}


def test_processes_are_judged_together_and_send_different_texts() -> None:
    with serve(backend="mock") as server:
        result = judge(server, "--p95-ms", SLOW_MS, "--processes", "2", requests=60)
        answered = received(server, "/predict") + received(server, "/predict/batch")
        misses, hits = (server.metric(f'sentiment_cache_total{{outcome="{each}"}}') for each in ("miss", "hit"))
    assert result.status == 0
    assert result.passed == [True] * 4
    assert result.verdict[3].startswith(f"pass  sent: {answered:.0f} requests, about ")
    assert hits < 0.5 * misses  # two workers with the same texts would have a hit for each miss


def test_a_slow_service_fails_with_processes_too(fast: FakeService) -> None:
    result = judge(fast, "--p95-ms", ANY_MS, "--processes", "2")
    assert result.status == 1
    assert result.passed == [False, False, True, True]


def test_a_worker_that_dies_fails_the_gate(fast: FakeService) -> None:
    with gate("--headless", "--host", fast.address, "--p95-ms", SLOW_MS, "--processes", "2") as running:
        until(lambda: fast.received["/predict/batch"], on_timeout=running.output)
        workers = Path(f"/proc/{running.process.pid}/task/{running.process.pid}/children").read_text().split()
        os.kill(int(workers[0]), signal.SIGKILL)
        result = running.finish()
    assert result.status == 1
    assert "FAIL  workers: 1 did not send their results" in result.verdict


def test_a_master_judges_what_its_workers_measured(fast: FakeService) -> None:
    port = str(free_port())
    master_flags = ("--master", "--master-bind-port", port, "--expect-workers", "1", "--p95-ms", SLOW_MS)
    with (
        gate("--headless", "--host", fast.address, *master_flags) as master,
        gate("--worker", "--master-port", port) as worker,
    ):
        until(lambda: fast.received["/predict/batch"], on_timeout=master.output)
        assert master.finish().passed == [True] * 4
        assert worker.result().verdict == []


@pytest.mark.parametrize("processes", [(), ("--processes", "2")])
def test_the_web_interface_ends_with_the_verdict(fast: FakeService, processes: tuple[str, ...]) -> None:
    flags = ("--autostart", "--web-host", "127.0.0.1", "--web-port", str(free_port()), *processes)
    with gate("--host", f"{fast.address}/", "--p95-ms", SLOW_MS, *flags) as running:
        until(lambda: fast.received["/predict/batch"], on_timeout=running.output)
        result = running.finish()
    assert result.status == 0
    assert result.passed == [True] * 4


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (("--p95-ms", "nan"), "argument --p95-ms: expected a number above 0, not 'nan'"),
        (("--p95-ms", "0"), "argument --p95-ms: expected a number above 0, not '0'"),
        (("--longest-list", "1"), "argument --longest-list: expected a whole number above 1, not '1'"),
        (("--max-error-share", "5"), "argument --max-error-share: expected a number from 0 to 1, not '5'"),
        (("--host", "127.0.0.1:8000"), "argument -H/--host: expected http://host:port"),
        (("--host", "http://a:port"), "argument -H/--host: expected http://host:port"),
        (("--host", "http://a/?b=c"), "argument -H/--host: expected http://host:port"),
        (("--host", "127.0.0.1:8000", "--processes", "2"), "argument -H/--host: expected http://host:port"),
    ],
)
def test_a_flag_that_makes_no_sense_is_refused(flags: tuple[str, ...], reason: str) -> None:
    with gate("--headless", *flags) as running:
        result = running.result()
    assert result.status in {1, 2}
    assert reason in result.output
    assert "Traceback" not in result.output
    assert result.verdict == []


@pytest.mark.parametrize("flag", ["--share=0", "--share=nan", "--seconds=0", "--seconds=1.5", "--p95-ms=-1"])
def test_the_command_refuses_the_same_values_before_it_starts_anything(flag: str) -> None:
    command = [sys.executable, "-m", "perf.gate", flag]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"argument {flag.partition('=')[0]}: expected " in done.stderr


def test_a_stall_shows_in_the_latency_although_users_wait() -> None:
    """In virtual time: one request takes ten seconds, and those that were due meanwhile are late."""
    program = """
import random, types
from perf import locustfile as gate
now_s = 0.0
gate.time = types.SimpleNamespace(perf_counter=lambda: now_s)
gate._check_response = lambda *_: None
class Response:
    status_code, content = 200, b""
    def __init__(self, ms): self.request_meta = {"response_time": ms}
    def __enter__(self): return self
    def __exit__(self, *_): pass
    def success(self): pass
class Client:
    base_url, requests = "http://a", 0
    def post(self, *_, **__):
        global now_s
        self.requests += 1
        ms = 10_000 if self.requests == 100 else 2
        now_s += ms / 1000
        return Response(ms)
class User(gate.FeedbackUser):
    environment = types.SimpleNamespace(parsed_options=types.SimpleNamespace(longest_list=16))
    def __init__(self): self.client = Client()
    def wait(self):
        global now_s
        now_s += self.wait_time()
random.seed(1)
user = User()
user.on_start()
for _ in range(1000):
    user.send()
    user.wait()
latencies_ms = [ms for each in gate._gate.record.latencies_ms.values() for ms in each]
print(sum(ms > 500 for ms in latencies_ms), len(latencies_ms), max(latencies_ms))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    late, total, longest_ms = done.stdout.split()
    assert (int(total), float(longest_ms)) == (1000, 10_000)
    assert 5 <= int(late) <= 20  # one is due each second, on average
