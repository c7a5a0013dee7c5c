"""The end of a server process: signals, requests in flight, new requests and the exit status."""

import os
import signal

import pytest

from tests.support.gate import Gate
from tests.support.process import ONE_SIGNAL_COUNTS, serve
from tests.support.waiting import until


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_requests_in_flight_are_answered_and_the_exit_status_is_0(number: signal.Signals, gate: Gate) -> None:
    with serve(backend="mock", prelude=gate.before_runs) as server:
        request = server.post_in_background({"text": "good"})
        server.wait_for_misses(1)
        server.process.send_signal(number)
        server.wait_for("draining")
        gate.open()
        assert request.response().json()["label"] == "positive"
        assert server.wait() == 0
        assert server.events("draining")[0]["in_flight"] == 1


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_service_under_nohup_survives_its_terminal(workers: str) -> None:
    nohup = "signal.signal(signal.SIGHUP, signal.SIG_IGN)"
    with serve(backend="mock", workers=workers, prelude=nohup) as server:
        pids = [server.process.pid, *server.events("ready")[0].get("workers", [])]
        for pid in pids:
            os.kill(pid, signal.SIGHUP)
        assert server.post({"text": "good"}).json()["label"] == "positive"
        server.terminate()  # still ends it
        assert server.wait() == 0
        ended = [line["event"] for line in server.lines() if line["event"] in ("draining", "worker draining")]
        assert len(ended) == len(pids) - (workers == "2")  # each process drains once, not before SIGTERM


def test_new_requests_get_503_during_a_drain(gate: Gate) -> None:
    with serve(backend="mock", prelude=gate.before_runs) as server, server.client() as http:
        assert http.get("/readyz").status_code == 200
        in_flight = server.post_in_background({"text": "good"})
        server.wait_for_misses(1)
        server.terminate()
        server.wait_for("draining")
        ready = http.get("/readyz")
        assert ready.status_code == 503
        assert ready.json()["detail"] == "the server is shutting down"
        assert "sentiment_ready 0.0" in server.get("/metrics").text
        refused = server.post({"text": "good"})
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.headers["connection"] == "close"
        assert server.post({"text": "good"}).status_code == 503
        assert server.get("/healthz").json()["status"] == "draining"
        assert server.get("/livez").status_code == 200
        gate.open()
        assert in_flight.response().status_code == 200
        assert server.wait() == 0


def test_a_request_that_exceeds_the_drain_timeout_gets_503() -> None:
    with serve(backend="mock", drain_timeout_ms="100") as server:
        request = server.post_in_background({"text": "[hang]"})
        server.wait_for_misses(1)
        server.terminate()
        assert request.response().status_code == 503
        assert server.wait() == 0
        assert server.events("drain timed out")


def test_a_request_with_an_incomplete_body_gets_503() -> None:
    with serve(backend="mock") as server:
        head = "POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 50\r\n\r\n{"
        with server.connect() as connection:
            connection.sendall(head.encode())
            server.get("/livez")  # the event loop has read the head when it answers this request
            server.terminate()
            response = connection.recv(4096).decode()
        assert response.startswith("HTTP/1.1 503")
        assert "application/problem+json" in response
        assert server.wait() == 0
        assert server.events("stopped")
        assert {line["level"] for line in server.lines()} <= {"info", "warning", "error"}
        assert "trace" not in str(server.lines())


@pytest.mark.parametrize("signals", [1, 2])
def test_a_hanging_model_does_not_keep_the_process_alive(signals: int) -> None:
    with serve(backend="mock", drain_timeout_ms="300") as server:
        hanging = server.post_in_background({"text": "[hang]"})
        server.wait_for_misses(1)
        for _ in range(signals):
            server.terminate()
            server.wait_for("draining")
        server.wait()
        hanging.join()


def test_a_loading_model_does_not_keep_the_process_alive(gate: Gate) -> None:
    with serve(wait="listening", prelude=gate.before_loading) as server:
        server.terminate()
        assert server.wait() == 0


def test_a_second_signal_ends_the_process_without_a_drain() -> None:
    with serve(backend="mock", drain_delay_ms="600000") as server:
        server.terminate()
        server.wait_for("draining")

        def terminate_again() -> bool:
            server.terminate()  # without effect in the first half second
            return bool(server.events("ending at once"))

        until(terminate_again)
        server.wait()


@pytest.mark.parametrize("again", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("workers", ["1", "2"])
def test_two_signals_in_quick_succession_count_as_one(again: signal.Signals, workers: str) -> None:
    with serve(backend="mock", workers=workers, prelude=ONE_SIGNAL_COUNTS) as server:
        slow = server.post_in_background({"text": "good [slow]"})
        server.wait_for_misses(1)
        server.terminate()
        server.process.send_signal(again)
        assert slow.response().status_code == 200
        assert server.wait() == 0
