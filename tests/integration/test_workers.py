"""Several workers behind one address: real processes, signals and sockets."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.support.process import EVERY_SIGNAL_COUNTS, ROOT, Server, serve
from tests.support.waiting import HANG_S, until

ANSWERED = 'http_requests_total{handler="/predict",method="POST",status="200"}'


def predict(server: Server, text: str = "good") -> httpx.Response:
    """Send one request over a new connection, which the kernel gives to any worker."""
    return server.post({"text": text})


def pids(server: Server) -> list[int]:
    return [int(pid) for pid in server.wait_for("ready")["workers"]]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def start_requests(server: Server, count: int) -> Callable[[], list[int]]:
    """Start requests in threads; return once the workers have them, with a function that waits for their statuses."""
    statuses: list[int] = []
    threads = [
        threading.Thread(target=lambda n=n: statuses.append(predict(server, f"text {n}").status_code))
        for n in range(count)
    ]
    for thread in threads:
        thread.start()
    until(lambda: server.metric('sentiment_cache_total{outcome="miss"}') == count)

    def wait() -> list[int]:
        for thread in threads:
            thread.join()
        return statuses

    return wait


def test_all_workers_answer_and_metrics_add_up_over_workers() -> None:
    with serve(backend="mock", workers="2", slots="3") as server:
        # Each worker has its own cache, so each computes the text once.
        responses = [predict(server)]

        def both_have_answered() -> bool:
            responses.append(predict(server))
            return [response.headers["X-Cache"] for response in responses].count("miss") == 2

        until(both_have_answered, interval_s=0)
        responses += [predict(server) for _ in range(20)]
        assert {response.status_code for response in responses} == {200}
        assert [response.headers["X-Cache"] for response in responses].count("miss") == 2
        until(lambda: server.metric(ANSWERED) == len(responses))  # a response is counted after it has been sent
        for _ in range(8):
            assert server.metric(ANSWERED) == len(responses)
            assert server.metric("sentiment_slots") == 6
            assert server.metric("sentiment_ready") == 1
        resident = server.metric("process_resident_memory_bytes")
        page = os.sysconf("SC_PAGE_SIZE")
        resident_each = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * page for pid in pids(server)]
        assert resident == pytest.approx(sum(resident_each), rel=0.2)
        assert server.metric("process_cpu_seconds_total") > 0


@pytest.mark.parametrize(("number", "event"), [(signal.SIGKILL, "worker ended"), (signal.SIGSTOP, "worker killed")])
def test_a_worker_that_dies_or_freezes_is_replaced_and_keeps_its_counts(number: signal.Signals, event: str) -> None:
    with serve(backend="mock", workers="2", frozen_s=20) as server:
        for _ in range(20):
            predict(server)
        victim, other = pids(server)
        os.kill(victim, number)
        assert server.wait_for(event, pid=victim)
        assert server.wait_for("worker ended", pid=victim)["status"] == -signal.SIGKILL

        def is_replaced() -> bool:
            assert predict(server).status_code == 200  # by the other worker, until then
            return len(server.events("worker ready")) == 3

        until(is_replaced)
        assert alive(other)
        until(lambda: server.metric("sentiment_ready") == 1)
        answered = server.metric(ANSWERED)
        assert answered >= 21
        assert [predict(server).status_code for _ in range(10)] == [200] * 10
        until(lambda: server.metric(ANSWERED) == answered + 10)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_all_processes_drains_every_worker(number: signal.Signals) -> None:
    with serve(backend="mock", workers="2", mock_delay_ms="600", slots="8") as server:
        statuses = start_requests(server, 6)
        for pid in (*pids(server), server.process.pid):  # as systemd does
            os.kill(pid, number)
        assert server.wait() == 0
        assert statuses() == [200] * 6
        assert not any(map(alive, pids(server)))
        assert len(server.events("worker stopped")) == 2
        assert server.events("stopped")


def test_sigterm_to_one_worker_drains_and_replaces_it() -> None:
    with serve(backend="mock", workers="2", mock_delay_ms="600", slots="8") as server:
        statuses = start_requests(server, 6)
        victim = pids(server)[0]
        os.kill(victim, signal.SIGTERM)
        assert server.wait_for("worker ended", pid=victim)["status"] == 0
        assert statuses() == [200] * 6
        until(lambda: len(server.events("worker ready")) == 3)
        server.terminate()
        assert server.wait() == 0


def test_a_second_signal_kills_all_workers_even_a_frozen_one() -> None:
    def fail() -> None:
        with pytest.raises(httpx.HTTPError):
            predict(server, "[hang]")

    with serve(backend="mock", workers="2", prelude=EVERY_SIGNAL_COUNTS) as server:
        request = threading.Thread(target=fail)
        request.start()
        until(lambda: server.metric('sentiment_cache_total{outcome="miss"}') == 1)
        os.kill(pids(server)[0], signal.SIGSTOP)
        server.terminate()
        server.wait_for("worker draining")
        server.terminate()
        assert server.wait() == 1
        request.join()
        assert not any(map(alive, pids(server)))


@pytest.mark.parametrize("pause_s", [0, 0.1, 1])
def test_a_signal_while_workers_start_ends_them(pause_s: float) -> None:
    code = f"import app.server.worker\napp.server.worker._FROZEN_S = {HANG_S}\nfrom app.cli import main\nmain()"
    command = [sys.executable, "-c", code, "serve", "--port", "0", "--workers", "3", "--log-format", "json"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        assert "starting" in process.stderr.readline()
        time.sleep(pause_s)
        process.terminate()
        log = process.stderr.read()
    assert process.returncode == 0, log
    assert '"event":"stopped"' in log
    assert "Traceback" not in log


def test_workers_survive_when_their_supervisor_is_stopped_for_a_while() -> None:
    with serve(backend="mock", workers="2", frozen_s=20) as server:
        server.process.send_signal(signal.SIGSTOP)
        time.sleep(21)  # longer than a worker may be silent
        server.process.send_signal(signal.SIGCONT)
        server.terminate()
        assert server.wait() == 0
        assert not server.events("worker killed")


def test_workers_end_when_their_supervisor_is_killed() -> None:
    with serve(backend="mock", workers="2") as server:
        workers = pids(server)
        server.process.kill()
        for pid in workers:
            until(lambda pid=pid: not alive(pid))


def test_the_same_port_serves_again_at_once() -> None:
    with serve(backend="mock", workers="2") as server:
        port = server.address.rpartition(":")[2]
        with server.client() as client:  # the server closes it, so its port stays in TIME_WAIT
            assert client.post("/predict", json={"text": "good"}).status_code == 200
            server.terminate()
            assert server.wait() == 0
    with serve("--port", port, backend="mock", workers="2") as again:
        assert predict(again).status_code == 200


@pytest.mark.parametrize(
    ("setting", "value", "reason"),
    [
        ("MODEL", "/nowhere", "/nowhere"),
        ("API_KEYS_FILE", "/nowhere", "/nowhere"),
        ("RATE_LIMIT", "10/minute", "RATE_LIMIT_STORAGE"),
    ],
)
def test_a_setting_that_no_worker_can_serve_with_ends_all(setting: str, value: str, reason: str) -> None:
    command = [sys.executable, "-m", "app", "serve", "--port", "0", "--workers", "2"]
    environment = os.environ | {f"SENTIMENT_{setting}": value}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=HANG_S
    )
    assert done.returncode in {1, 2}
    assert reason in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_in_use_is_not_shared_with_another_server() -> None:
    with serve(backend="mock", workers="2") as server:
        port = server.address.rpartition(":")[2]
        command = [sys.executable, "-m", "app", "serve", "--port", port, "--workers", "2", "--backend", "mock"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=HANG_S)
        assert done.returncode == 1
        assert "cannot listen" in done.stderr
