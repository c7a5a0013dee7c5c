"""What a worker tells probes and Prometheus."""

import re
import socket
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from app.jobs.process import _Pulse
from nginx.process import free_port
from tests.support.jobs import JobsClient, worker
from tests.support.process import ROOT, serve
from tests.support.redis import redis
from tests.support.waiting import HANG_S, until


def figures(port: int) -> dict[str, float]:
    text = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=HANG_S).text
    return {name: float(value) for name, value in re.findall(r"^(\w+(?:\{.*\})?) (\S+)$", text, flags=re.MULTILINE)}


def test_a_worker_shows_queues_jobs_and_rows(tmp_path: Path) -> None:
    port, monitor = free_port(), free_port()
    settings = {"redis_url": f"redis://127.0.0.1:{port}", "job_store": str(tmp_path)}
    with (
        redis(port),
        serve(backend="mock", **settings) as server,
        closing(JobsClient(server)) as client,
        worker("--queues", "high", worker_port=str(monitor), **settings),
    ):
        until(lambda: client.http.get("/jobs").status_code == 200)
        assert httpx.get(f"http://127.0.0.1:{monitor}/livez", timeout=HANG_S).status_code == 200
        assert httpx.get(f"http://127.0.0.1:{monitor}/other", timeout=HANG_S).status_code == 404
        client.submit({"texts": ["good"]})  # no worker takes it
        client.wait(client.submit({"texts": ["good"] * 3, "priority": "high"}))
        client.wait(client.upload(b"a,b\n", priority="high"))
        found = figures(monitor)
        assert found['sentiment_jobs_queued{queue="normal"}'] == 1
        assert found['sentiment_jobs_queued{queue="high"}'] == 0
        assert found['sentiment_jobs_oldest_seconds{queue="normal"}'] > 0
        assert found['sentiment_jobs_ended_total{status="completed"}'] == 1
        assert found['sentiment_jobs_ended_total{status="failed"}'] == 1
        assert found["sentiment_jobs_rows_total"] == 3
        assert (found["sentiment_jobs_dead"], found["sentiment_jobs_workers"]) == (1, 1)
        documented = re.findall(r"^\| `(sentiment_jobs_\w+)` \|", (ROOT / "docs" / "jobs.md").read_text(), re.MULTILINE)
        assert {name.partition("{")[0] for name in found} == set(documented)


def test_a_worker_without_redis_lives_and_says_so(tmp_path: Path) -> None:
    monitor = free_port()
    url = f"redis://127.0.0.1:{free_port()}"
    with worker(wait=False, worker_port=str(monitor), redis_url=url, job_store=str(tmp_path)) as running:
        running.wait_for("redis unreachable")
        assert figures(monitor) == {"sentiment_jobs_redis_up": 0}
        assert httpx.get(f"http://127.0.0.1:{monitor}/livez", timeout=HANG_S).status_code == 200
        running.terminate()
        assert running.wait() == 0


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
def test_a_worker_listens_on_both_families(tmp_path: Path) -> None:
    monitor = free_port()
    url = f"redis://127.0.0.1:{free_port()}"
    settings = {"host": "::", "worker_port": str(monitor), "redis_url": url, "job_store": str(tmp_path)}
    with worker(wait=False, **settings) as running:
        running.wait_for("redis unreachable")
        for host in ("127.0.0.1", "[::1]"):
            assert httpx.get(f"http://{host}:{monitor}/livez", timeout=HANG_S).status_code == 200


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    port = free_port()
    settings = {"redis_url": f"redis://127.0.0.1:{port}", "job_store": str(tmp_path), "worker_port": str(port)}
    with redis(port), worker(wait=False, **settings) as running:
        assert running.wait() == 1
        assert f"cannot listen on 127.0.0.1:{port}" in running.log.read_text()


def test_a_loop_that_hangs_is_noticed() -> None:
    pulse = _Pulse(slots=2)
    assert pulse.is_alive()
    pulse._beats_s[1] -= 1000
    pulse.beat(0)
    assert not pulse.is_alive()
    pulse.beat(1)
    assert pulse.is_alive()
