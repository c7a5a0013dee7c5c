"""Replicas behind nginx end, freeze and restart, and no request is lost."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.process import EVERY_SIGNAL_COUNTS, ROOT
from tests.support.replicas import Replicas, load, running
from tests.support.waiting import HANG_S, until


@pytest.fixture(scope="module")
def replicas() -> Iterator[Replicas]:
    with running(frozen_s=20) as started:
        yield started


async def test_a_replica_killed_under_load_loses_no_request(replicas: Replicas) -> None:
    before = replicas.processes()

    def kill_both_in_turn() -> None:
        for pid in before:
            replicas.wait_for_requests()
            os.kill(pid, signal.SIGKILL)
            replicas.wait_until(lambda pid=pid: pid not in replicas.processes() and replicas.all_ready())
        replicas.wait_for_requests()

    outcomes = await load(replicas.address, kill_both_in_turn)
    print(outcomes)
    assert outcomes.keys() == {"right"}
    assert outcomes["right"] >= 100
    assert len(replicas.lines(event="worker ended", status=-9)) == 2  # this test is the first
    assert any(" : " in line["upstream"] for line in replicas.lines(status=200, path="/predict") if "upstream" in line)


async def test_a_replica_that_freezes_under_load_loses_no_request(replicas: Replicas) -> None:
    victim = replicas.processes()[0]

    def freeze() -> None:
        replicas.wait_for_requests()
        os.kill(victim, signal.SIGSTOP)
        replicas.wait_until(lambda: victim not in replicas.processes() and replicas.all_ready())
        replicas.wait_for_requests()

    outcomes = await load(replicas.address, freeze)
    print(outcomes)
    assert outcomes.keys() == {"right"}
    assert outcomes["right"] >= 100
    assert len(replicas.lines(event="worker killed", reason="frozen")) == 1


async def test_a_rolling_restart_under_load_loses_no_request(replicas: Replicas) -> None:
    before = set(replicas.processes())

    def restart() -> None:
        replicas.wait_for_requests()
        replicas.process.send_signal(signal.SIGHUP)
        replicas.wait_until(lambda: replicas.lines(event="all workers restarted"))
        assert len(set(replicas.processes()) - before) == 2
        replicas.wait_for_requests()

    outcomes = await load(replicas.address, restart)
    print(outcomes)
    assert outcomes.keys() == {"right"}
    assert outcomes["right"] >= 100
    assert len(replicas.lines(event="worker ended", status=0)) == 2


def _ends_of_restarts(replicas: Replicas) -> list[str]:
    return [*replicas.lines(event="all workers restarted"), *replicas.lines(event="restart stopped")]


def test_a_replica_that_cannot_come_back_leaves_the_others_serving(tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(ROOT / "models" / "sentiment-en", model)
    with running(model=str(model)) as replicas:
        before = replicas.processes()
        (model / "tokenizer.json").rename(tmp_path / "tokenizer.json")
        replicas.process.send_signal(signal.SIGHUP)
        replicas.wait_until(lambda: replicas.lines(event="restart stopped"))
        replicas.process.send_signal(signal.SIGHUP)  # while the first replica waits for its replacement
        replicas.wait_until(lambda: len(replicas.lines(event="restart stopped")) == 2)
        assert before[1] in replicas.processes()
        for _ in range(10):
            assert httpx.post(f"{replicas.address}/predict", json={"text": "good"}, timeout=HANG_S).status_code == 200
        (tmp_path / "tokenizer.json").rename(model / "tokenizer.json")
        replicas.wait_until(replicas.all_ready)
        # Another process may take the port of a replica while that restarts.
        for ends in range(3, 13):
            replicas.process.send_signal(signal.SIGHUP)
            replicas.wait_until(lambda number=ends: len(_ends_of_restarts(replicas)) == number)
            if replicas.lines(event="all workers restarted"):
                break
            replicas.wait_until(replicas.all_ready)
        assert replicas.lines(event="all workers restarted")


@pytest.mark.parametrize(
    ("setting", "value", "reasons"),
    [
        ("SLOTS", "many", ["SENTIMENT_SLOTS: "]),
        ("PORT", "many", ["SENTIMENT_PORT: "]),
        ("WORKERS", "2", ["SENTIMENT_WORKERS: ", "--replicas"]),
        ("MODEL", "/nowhere", ["/nowhere", "did not get ready"]),
    ],
)
def test_a_wrong_setting_ends_the_command_with_the_reason(setting: str, value: str, reasons: list[str]) -> None:
    command = [sys.executable, "-m", "nginx.replicas"]
    environment = os.environ | {"SENTIMENT_PORT": "0", f"SENTIMENT_{setting}": value}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    for reason in reasons:
        assert reason in done.stderr


def test_a_certificate_is_refused_since_nginx_would_not_use_it() -> None:
    environment = os.environ | {"SENTIMENT_TLS_CERT_FILE": "a.pem", "SENTIMENT_TLS_KEY_FILE": "b.pem"}
    command = [sys.executable, "-m", "nginx.replicas", "--port", "0"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.startswith("replicas: SENTIMENT_TLS_CERT_FILE: ")) == (1, True)


def test_nginx_listens_where_the_settings_and_their_profile_say() -> None:
    with running(backend="mock", profile="prod", drain_delay_ms="0") as replicas:
        assert replicas.address.startswith("http://0.0.0.0:")
        assert replicas.lines(event="no API keys")


def test_a_single_replica_is_not_said_to_restart_and_ends_with_ctrl_c() -> None:
    with running("--replicas", "1", backend="mock") as replicas:
        replicas.process.send_signal(signal.SIGINT)
        assert replicas.process.wait(60) == 0
        assert "restart" not in replicas.log.read_text()


@pytest.mark.parametrize("victim", ["nginx", "supervisor"])
def test_no_process_remains_when_nginx_or_supervisor_is_killed(victim: str) -> None:
    with running(ends_with=None, backend="mock") as replicas:
        family = [replicas.process.pid, *replicas.children()]
        (nginx,) = [pid for pid in family if _name(pid) == "nginx"]
        children = Path(f"/proc/{nginx}/task/{nginx}/children")
        workers = until(lambda: [int(pid) for pid in children.read_text().split()])
        os.kill(nginx if victim == "nginx" else replicas.process.pid, signal.SIGKILL)
        assert replicas.process.wait(HANG_S) == (1 if victim == "nginx" else -signal.SIGKILL)
        until(lambda: not any(_name(pid) for pid in [*family[1:], *workers]), on_timeout=replicas.log.read_text)


def test_a_second_signal_ends_everything_at_once() -> None:
    with running(ends_with=None, backend="mock", prelude=EVERY_SIGNAL_COUNTS) as replicas:
        slow = b'{"text": "[slow] one"}'
        head = f"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: {len(slow)}\r\n\r\n"
        host, port = replicas.address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")  # nginx has the connection
            connection.sendall(head.encode() + slow[:-1])  # incomplete, so nginx waits for the rest
            replicas.process.terminate()
            until(lambda: not _accepts(host, int(port)))
            assert replicas.process.poll() is None
            replicas.process.terminate()
            assert replicas.process.wait(HANG_S) == 1


def test_it_works_with_a_proxy_variable_and_a_socket_as_output() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        environment = os.environ | {"http_proxy": "http://127.0.0.1:9", "SENTIMENT_BACKEND": "mock"}
        command = [sys.executable, "-m", "nginx.replicas", "--port", "0"]
        with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=theirs, stderr=subprocess.PIPE) as process:
            assert process.stderr is not None
            address = next(
                line.split()[-1].decode() for line in process.stderr if line.startswith(b"replicas: ready: ")
            )
            assert httpx.get(f"{address}/livez", trust_env=False, timeout=HANG_S).status_code == 200
            assert b'"path":"/livez"' in ours.recv(10_000)
            process.terminate()
            process.stderr.read()
        assert process.returncode == 0


def _accepts(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=HANG_S).close()
    except OSError:
        return False
    return True


def _name(pid: int) -> str:
    """The name of a process; empty if it has ended or is a zombie."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return ""
    return "" if "\nState:\tZ" in status else status.split()[1]
