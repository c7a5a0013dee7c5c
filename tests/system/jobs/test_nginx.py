"""Jobs through nginx: live events, and uploads that are larger than other bodies may be."""

import json
from contextlib import closing
from pathlib import Path

import httpx

from nginx.process import free_port
from tests.support.jobs import JobsClient, csv_of, worker
from tests.support.redis import redis
from tests.support.replicas import running
from tests.support.waiting import HANG_S


class Through(JobsClient):
    """Calls the routes through nginx."""

    def __init__(self, address: str) -> None:
        self.http = httpx.Client(base_url=address, timeout=HANG_S)


def test_uploads_and_live_events_pass_nginx(tmp_path: Path) -> None:
    port = free_port()
    settings = {"redis_url": f"redis://127.0.0.1:{port}", "job_store": str(tmp_path), "backend": "mock"}
    large = csv_of(4) + b'4,"it is good' + b" " * 6_000_000 + b'"\n'
    with redis(port), running("--replicas", "1", **settings) as replicas:
        with closing(Through(replicas.address)) as client:
            job_id = client.upload(large)
            with client.http.stream("GET", f"/jobs/{job_id}/events") as response:
                lines = response.iter_lines()
                data = next(line for line in lines if line.startswith("data: "))
                # There is no worker yet, so the first event has come while the stream is open.
                assert json.loads(data.removeprefix("data: "))["status"] == "pending"
                with worker(**settings):
                    events = [json.loads(line[6:]) for line in lines if line.startswith("data: ")]
            assert events[-1]["status"] == "completed"
            assert [int(row["id"]) for row in client.rows(job_id)] == list(range(5))
            assert client.http.post("/jobs/training").status_code == 415
            refused = client.http.post("/predict", content=b"x" * 5_000_000)
            assert refused.status_code == 413
        names = {line["path"] for line in replicas.lines(event="request")}
        assert {"/jobs/inference", "/jobs/training", "/jobs/{id}/events", "/jobs/{id}/result"} <= names
        assert not any(job_id in name for name in names)
