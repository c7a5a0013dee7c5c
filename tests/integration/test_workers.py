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

from tests.support.process import ROOT, Server, serve

ANSWERED = 'http_requests_total{handler="/predict",method="POST",status="200"}'


def ask(server: Server, text: str = "good") -> httpx.Response:
    """Over a connection of its own, which any worker may get."""
    return httpx.post(f"{server.address}/predict", json={"text": text}, timeout=30)


def pids(server: Server) -> list[int]:
    return [int(pid) for pid in server.wait_for("ready")["workers"]]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until_gone(pid: int) -> None:
    ends = time.monotonic() + 30
    while alive(pid):
        assert time.monotonic() < ends, f"process {pid} is still there"
        time.sleep(0.02)


def eventually(holds: Callable[[], bool]) -> None:
    ends = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.05)


def test_all_workers_answer_and_each_scrape_has_what_all_counted() -> None:
    with serve(backend="mock", workers="2", slots="3") as server:
        found = [ask(server) for _ in range(40)]
        assert {response.status_code for response in found} == {200}
        # Each has a cache of its own, so each computed the text once.
        assert [response.headers["X-Cache"] for response in found].count("miss") == 2
        eventually(lambda: server.metric(ANSWERED) == 40)  # the last is counted when it has been sent
        for _ in range(8):
            assert server.metric(ANSWERED) == 40
            assert server.metric("sentiment_slots") == 6
            assert server.metric("sentiment_ready") == 1
        resident = server.metric("process_resident_memory_bytes")
        page = os.sysconf("SC_PAGE_SIZE")
        each = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * page for pid in pids(server)]
        assert resident == pytest.approx(sum(each), rel=0.2)
        assert server.metric("process_cpu_seconds_total") > 0


@pytest.mark.parametrize(("number", "says"), [(signal.SIGKILL, "worker ended"), (signal.SIGSTOP, "worker killed")])
def test_a_worker_that_dies_or_freezes_is_replaced_and_what_it_counted_stays(number: signal.Signals, says: str) -> None:
    with serve(backend="mock", workers="2") as server:
        for _ in range(20):
            ask(server)
        victim, other = pids(server)
        os.kill(victim, number)
        assert server.wait_for(says, pid=victim)
        assert server.wait_for("worker ended", pid=victim)["status"] == -signal.SIGKILL
        ends = time.monotonic() + 30
        while len(server.events("worker ready")) < 3:
            assert ask(server).status_code == 200  # the other one
            assert time.monotonic() < ends
        assert alive(other)
        eventually(lambda: server.metric("sentiment_ready") == 1)
        answered = server.metric(ANSWERED)
        assert answered >= 21
        assert [ask(server).status_code for _ in range(10)] == [200] * 10
        eventually(lambda: server.metric(ANSWERED) == answered + 10)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_all_once_they_have_answered_even_when_all_of_them_get_it(number: signal.Signals) -> None:
    with serve(backend="mock", workers="2", mock_delay_ms="600", slots="8") as server:
        found: list[int] = []
        asking = [
            threading.Thread(target=lambda n=n: found.append(ask(server, f"text {n}").status_code)) for n in range(6)
        ]
        for thread in asking:
            thread.start()
        eventually(lambda: server.metric('sentiment_cache_total{outcome="miss"}') == 6)
        for pid in (*pids(server), server.process.pid):  # as systemd does, and a terminal that closes
            os.kill(pid, number)
        assert server.wait() == 0
        for thread in asking:
            thread.join()
        assert found == [200] * 6
        assert not any(map(alive, pids(server)))
        assert len(server.events("worker stopped")) == 2
        assert server.events("stopped")


def test_a_second_signal_ends_all_at_once_even_one_that_is_frozen() -> None:
    def give_up() -> None:
        with pytest.raises(httpx.HTTPError):
            ask(server)

    with serve(backend="mock", workers="2", mock_delay_ms="4000") as server:
        asking = threading.Thread(target=give_up)
        asking.start()
        eventually(lambda: server.metric('sentiment_cache_total{outcome="miss"}') == 1)
        os.kill(pids(server)[0], signal.SIGSTOP)
        server.terminate()
        server.wait_for("worker draining")
        time.sleep(0.6)  # what comes sooner is the same wish
        server.terminate()
        assert server.wait(10) == 1
        asking.join()
        assert not any(map(alive, pids(server)))


@pytest.mark.parametrize("pause_s", [0, 0.1, 1])
def test_a_signal_while_workers_start_ends_them(pause_s: float) -> None:
    command = [sys.executable, "-m", "app", "serve", "--port", "0", "--workers", "4", "--log-format", "json"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        assert "starting" in process.stderr.readline()
        time.sleep(pause_s)
        process.terminate()
        said = process.stderr.read()
    assert process.returncode == 0, said
    assert '"event":"stopped"' in said
    assert "Traceback" not in said


def test_workers_end_when_nobody_looks_after_them() -> None:
    with serve(backend="mock", workers="2") as server:
        workers = pids(server)
        server.process.kill()
        for pid in workers:
            wait_until_gone(pid)


def test_the_same_port_serves_again_at_once() -> None:
    with serve(backend="mock", workers="2") as server:
        port = server.address.rpartition(":")[2]
        with server.client() as kept:  # the server closes it, and its port waits for stragglers
            assert kept.post("/predict", json={"text": "good"}).status_code == 200
            server.terminate()
            assert server.wait() == 0
    with serve("--port", port, backend="mock", workers="2") as again:
        assert ask(again).status_code == 200


@pytest.mark.parametrize(
    ("setting", "value", "says"),
    [
        ("MODEL", "/nowhere", "/nowhere"),
        ("API_KEYS_FILE", "/nowhere", "/nowhere"),
        ("RATE_LIMIT", "10/minute", "RATE_LIMIT_STORAGE"),
    ],
)
def test_what_keeps_one_from_serving_keeps_all(setting: str, value: str, says: str) -> None:
    command = [sys.executable, "-m", "app", "serve", "--port", "0", "--workers", "2"]
    environment = os.environ | {f"SENTIMENT_{setting}": value}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode in {1, 2}
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_that_others_serve_is_not_shared_with_them() -> None:
    with serve(backend="mock", workers="2") as server:
        port = server.address.rpartition(":")[2]
        command = [sys.executable, "-m", "app", "serve", "--port", port, "--workers", "2", "--backend", "mock"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 1
        assert "cannot listen" in done.stderr
