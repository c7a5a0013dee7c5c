"""Replicas with a real Redis between them: they share predictions, and answer as well without it."""

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nginx.process import free_port
from tests.support.process import ROOT, Server, serve
from tests.support.redis import redis
from tests.support.waiting import HANG_S, until

PATIENT_MS = "1000"  # the most that is allowed: a busy machine must not look like an ill Redis
TEXT = {"text": "What a wonderful day, I love it."}


# Pauses, and the time that a connection may take, are longer than a test should wait.
FAST = """
import app.serving.shared.health, app.serving.shared.store
app.serving.shared.health._LONGEST_PAUSE_S = app.serving.shared.store._CONNECT_S = 0.5
"""


def wait_until_written(server: Server) -> None:
    until(lambda: server.metric(WRITTEN) == server.metric("sentiment_batch_texts_sum"))


def shared(outcome: str) -> str:
    return f'sentiment_shared_cache_total{{outcome="{outcome}"}}'


WRITTEN = 'sentiment_shared_cache_writes_total{outcome="written"}'


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    port = free_port()
    with redis(port):
        yield port


@pytest.fixture(scope="module")
def replicas(port: int) -> Iterator[tuple[Server, Server]]:
    settings = {"cache_redis_url": f"redis://127.0.0.1:{port}", "cache_redis_timeout_ms": PATIENT_MS}
    settings["depth"] = "full"  # so that each text is in one batch: `wait_until_written` counts them
    with (
        serve(wait="shared cache in use", **settings) as one,
        serve(workers="2", abstain_below="0.95", **settings) as two,
    ):
        one.wait_for("ready")
        until(lambda: len(two.events("shared cache in use")) == 2)
        yield one, two


def keys(port: int) -> list[bytes]:
    with socket.create_connection(("127.0.0.1", port), timeout=HANG_S) as connection:
        connection.sendall(b"KEYS *\r\nPING\r\n")
        answer = b""
        while not answer.endswith(b"+PONG\r\n"):
            answer += connection.recv(65536)
    return [line for line in answer.split(b"\r\n") if b":" in line]


def test_replicas_share_predictions_to_the_last_byte(replicas: tuple[Server, Server], port: int) -> None:
    one, two = replicas
    texts = ["I love it.", "I hate it.", "It is a chair.", "so long, and so good " * 400]
    computed = one.post({"texts": texts}, "/predict/batch")
    wait_until_written(one)
    answer = two.post({"texts": texts}, "/predict/batch")
    assert (computed.headers["x-cache"], answer.headers["x-cache"]) == ("miss", "hit")
    places = [response.json()["predictions"] for response in (computed, answer)]
    for first, second in zip(*places, strict=True):
        assert first | {"label": None} == second | {"label": None}
        # The second replica has another limit for that, which is its own.
        assert second["label"] == (first["label"] if second["confidence"] >= 0.95 else None)
    assert two.metric(shared("hit")) == 4
    assert two.metric('sentiment_cache_total{outcome="miss"}') == 0
    assert len(keys(port)) == 4
    assert all(key.startswith(b"rt-sentiment:cache:") for key in keys(port))


def test_windows_and_explanations_are_shared(replicas: tuple[Server, Server]) -> None:
    one, two = replicas
    bodies = ({"text": "it was good, and " * 400, "long_text": "window"}, {"text": "It was so good.", "explain": True})
    for body in bodies:
        computed = one.post(body)
        wait_until_written(one)
        answer = two.post(body)
        assert computed.json() | {"label": None} == answer.json() | {"label": None}
        assert (computed.headers["x-cache"], answer.headers["x-cache"]) == ("miss", "hit")
    assert two.metric("sentiment_batch_texts_sum") == 0


def test_another_model_computes_its_own_answers(replicas: tuple[Server, Server], port: int) -> None:
    one, _ = replicas
    one.post(TEXT)
    url = f"redis://127.0.0.1:{port}"
    with serve(
        wait="shared cache in use", backend="mock", cache_redis_url=url, cache_redis_timeout_ms=PATIENT_MS
    ) as mock:
        mock.wait_for("ready")
        before = len(keys(port))
        assert mock.post(TEXT).headers["x-cache"] == "miss"
        mock.wait_for_metric(WRITTEN, 1)
        assert len(keys(port)) == before + 1


def test_a_redis_that_is_down_restarts_or_hangs_is_used_again() -> None:
    port = free_port()
    url = f"redis://127.0.0.1:{port}"
    with serve(
        backend="mock", cache_entries="0", cache_redis_url=url, cache_redis_timeout_ms="200", prelude=FAST
    ) as server:

        def hits() -> bool:
            return server.post(TEXT).headers["x-cache"] == "hit"

        def check_that_it_is_left_alone() -> None:
            until(lambda: not hits())
            failed = server.metric(shared("failed"))
            for number in range(50):
                assert server.post({"text": f"number {number}"}).headers["x-cache"] == "miss"
            assert server.metric(shared("failed")) <= failed + 2  # of all that follow, next to none waits

        # It starts without Redis, and says so once.
        server.wait_for("shared cache paused", use="lookups", reason="Redis: it cannot be reached")
        assert not hits()
        with redis(port) as process:
            until(hits, interval_s=0.2)
            process.kill()
            process.wait()
            check_that_it_is_left_alone()
        with redis(port) as process:
            until(hits, interval_s=0.2)
            process.send_signal(signal.SIGSTOP)
            check_that_it_is_left_alone()
            server.wait_for("shared cache paused", use="lookups", reason="Redis: it does not answer in time")
            process.send_signal(signal.SIGCONT)
            until(hits, interval_s=0.2)
        lookups = [line["event"] for line in server.lines() if line.get("use") == "lookups"]
        assert lookups == ["shared cache paused", "shared cache in use"] * (len(lookups) // 2)
        assert len(lookups) <= 12


def test_a_redis_that_never_answers_slows_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://user:s3cret@127.0.0.1:{silent.getsockname()[1]}"
        with serve(backend="mock", cache_redis_url=url, prelude=FAST) as server:
            server.wait_for("shared cache paused", reason="Redis: it does not answer in time")
            for number in range(20):
                assert server.post({"text": f"number {number}"}).headers["x-cache"] == "miss"
            assert server.metric(shared("skipped")) == 20
            assert server.metric('sentiment_stage_seconds_count{stage="shared"}') == 0
            assert "s3cret" not in server.log.read_text()


def test_a_password_and_a_user_are_used(tmp_path: Path) -> None:
    port, file = free_port(), tmp_path / "password"
    rules = "cache on >s3cret ~rt-sentiment:cache:* +mget +set +ping"
    with redis(port, "--user", *rules.split()):
        for password, event in (("wrong", "shared cache paused"), ("s3cret", "shared cache in use")):
            file.write_text(f"{password}\n")
            url = f"redis://cache@127.0.0.1:{port}"
            settings = {"cache_redis_password_file": str(file), "cache_redis_timeout_ms": PATIENT_MS}
            with serve(backend="mock", cache_entries="0", cache_redis_url=url, **settings) as server:
                assert server.wait_for(event).get("reason") in (None, "Redis: it refuses the password")
                if password == "s3cret":
                    until(lambda: server.post(TEXT).headers["x-cache"] == "hit")
                else:
                    assert server.post(TEXT).headers["x-cache"] == "miss"


def test_a_url_that_is_not_valid_is_refused_without_its_password() -> None:
    for url in ("redis://:s3cr/et@host:6379", "http://:s3cret@host", "redis://:s3cret@host:port"):
        done = subprocess.run(
            [sys.executable, "-m", "app", "serve", "--backend", "mock", "--port", "0", "--cache-redis-url", url],
            capture_output=True,
            cwd=ROOT,
            text=True,
            check=False,
        )
        assert done.returncode == 2, done.stderr
        assert "SENTIMENT_CACHE_REDIS_URL" in done.stderr
        assert "s3c" not in done.stdout + done.stderr
